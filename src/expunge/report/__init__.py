"""HTML from runs and evaluations. No torch."""
