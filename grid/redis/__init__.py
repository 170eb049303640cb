"""A Redis between web clients and a grid: orders in, events out; docs/guides/redis-orders.md."""
