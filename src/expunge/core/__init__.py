"""Errors, frozen value types, hashing, random streams, files and statistics. No torch below this line."""
