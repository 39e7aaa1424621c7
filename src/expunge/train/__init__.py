"""The one loop, its meter, checkpoints and run folders."""
