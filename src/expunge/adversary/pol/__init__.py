"""Proof-of-Learning as published and mended (Jia et al., 2021), and the attacks on it: the baseline."""
