"""The registry: checkpoints by digest, the names that point at them, and how they came to."""
