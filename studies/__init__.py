"""Long experiments, each reproducible by one command; results are small files with date and command."""
