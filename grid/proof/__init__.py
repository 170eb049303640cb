"""Proves from recordings and the venue's journal that a grid did nothing that it must not do."""
