"""Features: what an agent sees of the market. `registry` finds them, `kernel` is for one's own."""
