"""Training grids: many trainings of one file, and what became of each; see `docs/grids.md`."""
