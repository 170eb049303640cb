"""Models that answer from a server of their own, ours or another's."""
