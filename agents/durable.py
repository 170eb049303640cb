"""Files that survive a crash; they live in `grid.durable`."""

from grid.durable import sync_folder, write_atomic, write_synced

__all__ = ["sync_folder", "write_atomic", "write_synced"]
