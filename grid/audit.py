"""The audit log: who was stopped from doing what, and by whom. One JSON object a line, appended.

A line survives a kill of the process as soon as it is written, and a power cut once it is synced:
control acts and halts at once, refusals with the next of those, or at `sync`.
"""

import logging
import os
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from grid.dataset import to_iso

log = logging.getLogger(__name__)

type Kind = Literal["halt", "resume", "flatten", "order", "cancel", "refusal"]

_RARE: Final = ("halt", "resume", "flatten", "order", "cancel")


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line.

    Attributes:
        at: time by this machine's clock, UTC.
        ts_ns: the same, UNIX ns.
        kind: what happened.
        strategy_id: to whom.
        epoch: of the node; 0 where no node was asked.
        by: a person or an agent, `limits` for a breach.
        reason: of the act, or of the refusal.
        done: false where an act changed nothing.
        subject: what was refused, or which order closes the position.
    """

    at: str
    ts_ns: int
    kind: Kind
    strategy_id: str
    epoch: int
    by: str
    reason: str
    done: bool = True
    subject: str = ""


class Audit:
    """Appends entries of one strategy. A disk that refuses stops no trading: it is counted.

    Attributes:
        lost: entries that could not be written.
    """

    def __init__(self, file: Path, strategy_id: str, epoch: int) -> None:
        self.lost = 0
        self._file = file
        self._strategy_id = strategy_id
        self._epoch = epoch
        self._fd = -1
        self._unsynced = False

    def write(
        self,
        kind: Kind,
        by: str,
        reason: str,
        *,
        done: bool = True,
        subject: str = "",
        strategy_id: str = "",
    ) -> None:
        """Append an entry, about another strategy if one is named."""
        now_ns = time.time_ns()
        entry = Entry(
            at=f"{to_iso(now_ns)}.{now_ns // 1_000_000 % 1_000:03d}Z",
            ts_ns=now_ns,
            kind=kind,
            strategy_id=strategy_id or self._strategy_id,
            epoch=self._epoch,
            by=by,
            reason=reason,
            done=done,
            subject=subject,
        )
        try:
            if self._fd < 0:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._fd = os.open(self._file, flags, 0o600)
            os.write(self._fd, msgspec.json.encode(entry) + b"\n")
        except OSError as e:
            self.lost += 1
            log.error("audit entry lost, %s by %s: %s", kind, by, e)
            return
        self._unsynced = True
        if kind in _RARE:
            self.sync()

    def sync(self) -> None:
        """Wait until the disk has all entries."""
        if self._unsynced:
            self._unsynced = False
            try:
                os.fsync(self._fd)
            except OSError as e:
                log.error("audit log not synced: %s", e)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
