"""Market data in: files, checks, synthetic markets, the dataset on disk and in the catalog."""
