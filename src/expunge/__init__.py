"""Expunge makes a trained PyTorch model forget named people's data, and shows its work."""
