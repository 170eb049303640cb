"""Benchmarks, each beside its own baseline in the same run, the two taking turns."""
