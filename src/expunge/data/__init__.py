"""Data sets with ids and subjects, their sources, splits and commitment. No torch."""
