"""Runs a grid for long, and measures whether it stays as it is."""
