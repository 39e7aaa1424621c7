"""What still holds the rows that a run has forgotten, and how it is ended or named."""
