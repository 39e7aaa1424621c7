"""Logs that deny a person, who forges them, and what both verifiers answer."""
