"""Which of many to choose: pure functions of arrays, scores in, places out."""
