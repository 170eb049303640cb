from tests.support.procs import addresses, context, procs

__all__ = ["addresses", "context", "procs"]
