"""Errors, value types, hashing, random streams, files, statistics and exact solutions. No torch below this line."""
