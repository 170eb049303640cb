"""From a model's source, as a person writes it, to its checkpoint, name and version number."""

from pathlib import Path
from typing import NamedTuple

from agents.checkpoint import Checkpoint
from agents.registry.history import PREFIX
from agents.registry.registry import Registry
from grid.serving.config import fit_name


class Source(NamedTuple):
    """Where a model comes from.

    Attributes:
        text: as it was written.
        followed: name in the registry whose changes make new versions; empty for none.
    """

    text: str
    followed: str = ""

    @classmethod
    def read(cls, text: str) -> "Source":
        """Return the source that a text means."""
        name = text.removeprefix(PREFIX)
        return cls(text, name if name != text and "/" in name else "")

    @property
    def name(self) -> str:
        """What the model is called, unless it is given a name."""
        if self.text.startswith(PREFIX):
            return fit_name(self.text.removeprefix(PREFIX))
        return fit_name(Path(self.text).resolve().name)

    def open(self, registry: Registry) -> tuple[Checkpoint, str]:
        """Return the checkpoint, and its version number if the source gives one.

        A followed name's versions are numbered by its changes, so they keep their numbers when the
        server starts anew.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        if not self.text.startswith(PREFIX):
            return Checkpoint.open(Path(self.text)), ""
        checkpoint = registry.open(self.text.removeprefix(PREFIX))
        if not self.followed:
            return checkpoint, ""
        changes = [c.digest for c in registry.changes() if c.name == self.followed]
        newest = max(i for i, digest in enumerate(changes, 1) if digest == checkpoint.digest)
        return checkpoint, str(newest)


def current(registry: Registry, followed: str) -> str:
    """Return the digest that a name points at; empty for a name that is gone."""
    try:
        return registry.pointer(followed).read_text().strip()
    except OSError:
        return ""
