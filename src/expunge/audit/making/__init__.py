"""Making records: from a run folder to the statements that are signed."""
