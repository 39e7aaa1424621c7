"""The filing room: every document on disk, and what reads and writes it. No torch; imports ``core`` alone."""
