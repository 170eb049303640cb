"""The strategy, its links, and the live node: the only part of the grid that knows the engine."""
