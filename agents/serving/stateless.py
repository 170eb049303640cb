"""What a server can answer for: networks that need nothing but the observation."""

from agents.checkpoint import Checkpoint
from grid.errors import CheckpointError


def refuse_memory(checkpoint: Checkpoint, recurrent: bool) -> None:
    """Refuse a network that remembers: a request to a server tells of one moment only.

    Raises:
        CheckpointError: it does.
    """
    if recurrent:
        raise CheckpointError(
            f"{checkpoint.path}: expected a network without memory, found an LSTM, which has to "
            "run in its agent"
        )
