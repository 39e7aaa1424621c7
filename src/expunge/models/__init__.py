"""A small zoo and the resolver for anyone's factory."""
