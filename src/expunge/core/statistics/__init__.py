"""Pure statistics of arrays: signals, intervals and verdicts. NumPy in, values out, no torch."""
