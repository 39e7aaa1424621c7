"""Who sits where in every step: recipe, order, shards and slices, empty chairs. Pure functions, no torch."""
