"""Breaks a real grid on purpose, and proves that it did nothing that it must not do."""
