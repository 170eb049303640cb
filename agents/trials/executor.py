"""Where trials run: the interface that a launcher sees, whatever is behind it."""

from typing import Protocol

from agents.trials.messages import Message, Order


class Executor(Protocol):
    """Carries out orders.

    Attributes:
        name: `local`, or the address of a cluster.
        slots: trials that can run at once.
    """

    name: str
    slots: int

    @property
    def free(self) -> int:
        """Slots in which nothing runs."""

    def submit(self, order: Order) -> None:
        """Begin a trial; what becomes of it, `poll` tells."""

    def poll(self, timeout_s: float) -> list[Message]:
        """Return what trials have said, waiting up to `timeout_s` for a first word.

        Raises:
            ProcessDied: there is nothing behind the executor any more.
        """

    def cancel(self, trial: str) -> None:
        """End a trial's process; harmless if it has ended."""

    def close(self) -> None:
        """End all."""
