"""Speed harnesses: paired runs, ratios, and the bounds that they must keep."""
