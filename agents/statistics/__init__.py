"""What a result is worth: splits, ratios, intervals, count of trials, verdict. NumPy only."""
