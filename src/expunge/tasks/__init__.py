"""What makes a model usable by every method and probe: losses, margins, outputs."""
