"""Messages on the wire, by who speaks to whom. `grid.wire` has them all, and packs them."""
