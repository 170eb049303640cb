"""The report of a training grid: what was tried, what was found, and how sure that is."""
