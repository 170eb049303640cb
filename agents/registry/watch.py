"""What a name points at, for an agent that follows it while it decides."""

import logging
import threading
from typing import Final

from agents.policy import OnnxPolicy
from agents.registry.registry import Registry
from grid.errors import ArgonautError

log = logging.getLogger(__name__)

_LOOK_EVERY_NS: Final = 100_000_000


class NameWatch:
    """Loads a checkpoint beside the thread that decides, when a name has come to point at it.

    Args:
        registry: that holds the name.
        name: as in `eurusd/champion`.
        digest: of the checkpoint that is in use.
    """

    def __init__(self, registry: Registry, name: str, digest: str) -> None:
        self._registry = registry
        self._name = name
        self._digest = digest  # in use, being loaded, or refused
        self._pointer = registry.pointer(name)
        self._next_ns = 0
        self._loading: threading.Thread | None = None
        self._loaded: OnnxPolicy | None = None

    def poll(self, now_ns: int) -> tuple[OnnxPolicy, str] | None:
        """Return the policy and digest to change over to, once; never waits."""
        if self._loading is not None:
            if self._loading.is_alive():
                return None
            self._loading = None
            loaded, self._loaded = self._loaded, None
            return (loaded, self._digest) if loaded is not None else None
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + _LOOK_EVERY_NS
        digest = self._read()
        if digest and digest != self._digest:
            self._digest = digest
            self._loading = threading.Thread(target=self._load, args=(digest,), daemon=True)
            self._loading.start()
        return None

    def _read(self) -> str:
        try:
            return self._pointer.read_text().strip()
        except OSError:  # a name that is gone: what is in use stays
            return ""

    def _load(self, digest: str) -> None:
        try:
            self._loaded = OnnxPolicy(self._registry.open(digest))
        except ArgonautError as e:
            log.warning("%s points at what cannot be used: %s", self._name, e)
