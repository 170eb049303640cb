"""The registry on disk.

    models/checkpoints/DIGEST/   a checkpoint, without what only further training needs
    models/evidence/DIGEST.json  what was found out about it
    models/names/STRATEGY/ROLE   the digest that a name points at, for those who follow it
    models/history.jsonl         every change of a name; the names are its fold

A change is on the disk before anyone who follows the name can see it. Light: no torch.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from agents.checkpoint import RESUME, Checkpoint
from agents.registry import evidence as evidences
from agents.registry import history
from agents.registry.evidence import Evidence
from agents.registry.history import PREFIX, Change, Name
from grid.config import convert
from grid.durable import sync_folder, write_atomic
from grid.errors import CheckpointError, ConfigError

_LOCK_TIMEOUT_S: Final = 30.0


class Registry:
    """Checkpoints and their names.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # -- checkpoints --------------------------------------------------------------------------

    def add(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep a copy of a checkpoint, and return the copy."""
        target = self._checkpoints / checkpoint.digest
        if not target.exists():
            self._checkpoints.mkdir(parents=True, exist_ok=True)
            draft = self._checkpoints / f".draft-{uuid4().hex}"
            try:
                shutil.copytree(checkpoint.path, draft, ignore=shutil.ignore_patterns(RESUME))
                for part in (*draft.rglob("*"), draft):
                    sync_folder(part)  # a file's descriptor is synced all the same
                draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            sync_folder(self._checkpoints)
        return Checkpoint.open(target)

    def digests(self) -> list[str]:
        """Return the digests of the checkpoints that are kept."""
        return sorted(p.name for p in self._checkpoints.glob("[!.]*"))

    def open(self, name: str) -> Checkpoint:
        """Return the checkpoint that is meant by a name or by the beginning of a digest.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        known = history.names(self.changes())
        if "/" in name:
            if name not in known:
                said = ", ".join(known) or "none yet"
                raise CheckpointError(f"{PREFIX}{name}: no such name; there are: {said}")
            return Checkpoint.open(self._checkpoints / known[name].digest)
        found = [digest for digest in self.digests() if name and digest.startswith(name)]
        if len(found) != 1:
            said = f"{len(found)} checkpoints begin so" if found else "no such checkpoint"
            raise CheckpointError(f"{PREFIX}{name}: {said}; `models list` shows what there is")
        return Checkpoint.open(self._checkpoints / found[0])

    # -- what is known of them ----------------------------------------------------------------

    def evidence(self, digest: str) -> tuple[Evidence, ...]:
        """Return all that was found out about a checkpoint, in order."""
        file = self._evidence_file(digest)
        if not file.exists():
            return ()
        try:
            return msgspec.json.decode(file.read_bytes(), type=tuple[Evidence, ...])
        except msgspec.MsgspecError as e:
            raise CheckpointError(f"{file}: damaged: {e}") from e

    def learn(self, digest: str, found: Evidence) -> None:
        """Add to what is known of a checkpoint."""
        with self._locked():
            file = self._evidence_file(digest)
            file.parent.mkdir(parents=True, exist_ok=True)
            raw = msgspec.json.encode((*self.evidence(digest), found))
            write_atomic(file, msgspec.json.format(raw, indent=1))

    # -- names --------------------------------------------------------------------------------

    def changes(self) -> list[Change]:
        """Return every change of a name, in order."""
        return history.read(self.folder / "history.jsonl")

    def pointer(self, name: str) -> Path:
        """Return the file whose content is the digest that `name` points at."""
        return self.folder / "names" / name

    def promote(
        self, checkpoint: Checkpoint, name: str, *, by: str, why: str, at: str, force: bool = False
    ) -> Change:
        """Let `name` point at a checkpoint.

        Args:
            checkpoint: is kept, if it was not.
            name: as in `eurusd/champion`.
            by: who wants it.
            why: the reason; forcing demands one.
            at: the time, UTC.
            force: though something demanded is missing, or what it sees and does has changed.

        Raises:
            ConfigError: the name cannot be one, or a reason is missing.
            CheckpointError: what is demanded of it has not passed, or running agents could not
                change over to it.
        """
        convert(name, Name, "name")
        if force and not why:
            raise ConfigError("models promote --force: expected a reason by --why, found none")
        with self._locked():
            kept = self.add(checkpoint)
            before = self._current(name)
            known = evidences.newest(self.evidence(kept.digest)).values()
            lacking = evidences.lacking(known) + self._unlike(kept, before)
            if lacking and not force:
                raise CheckpointError(f"{kept.digest} as {name}: {'; '.join(lacking)}")
            change = Change(
                name=name, digest=kept.digest, before=before, act="promote", at=at, by=by, why=why,
                forced=bool(lacking), evidence=tuple(known),
            )  # fmt: skip
            self._write(change)
        return change

    def rollback(self, name: str, *, by: str, why: str, at: str) -> Change:
        """Let `name` point at what it pointed at before its newest promotion.

        Raises:
            CheckpointError: there is no such name, or nothing before.
        """
        with self._locked():
            changes = self.changes()
            before, digest = self._current(name), history.previous(changes, name)
            if not digest:
                what = f"points at {before}, and at nothing before" if before else "no such name"
                raise CheckpointError(f"{name}: {what}")
            Checkpoint.open(self._checkpoints / digest)
            change = Change(
                name=name, digest=digest, before=before, act="rollback", at=at, by=by, why=why
            )
            self._write(change)
        return change

    def _current(self, name: str) -> str:
        change = history.names(self.changes()).get(name)
        return change.digest if change else ""

    def _unlike(self, checkpoint: Checkpoint, before: str) -> list[str]:
        if not before:
            return []
        now = Checkpoint.open(self._checkpoints / before).manifest.spec_digest
        if checkpoint.manifest.spec_digest == now:
            return []
        return ["another spec than the one before it, so that running agents cannot change over"]

    def _write(self, change: Change) -> None:
        file = self.folder / "history.jsonl"
        line = msgspec.json.encode(change) + b"\n"
        with file.open("r+b" if file.exists() else "w+b") as f:
            f.truncate(f.read().rfind(b"\n") + 1)  # what a crash cut short never was
            f.seek(0, os.SEEK_END)
            f.write(line)
            f.flush()
            os.fsync(f.fileno())
        sync_folder(self.folder)
        pointer = self.pointer(change.name)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(pointer, change.digest.encode() + b"\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._wait_for(fd)
            self._mend()
            yield
        finally:
            os.close(fd)

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                if time.monotonic() > deadline:
                    raise CheckpointError(
                        f"{self.folder}: another process has changed the registry for "
                        f"{_LOCK_TIMEOUT_S:g} s"
                    ) from e
                time.sleep(0.02)

    def _mend(self) -> None:
        """Point names where the history says, after a crash between the two writes."""
        for name, change in history.names(self.changes()).items():
            pointer = self.pointer(name)
            if not pointer.exists() or pointer.read_text().strip() != change.digest:
                pointer.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(pointer, change.digest.encode() + b"\n")

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _evidence_file(self, digest: str) -> Path:
        return self.folder / "evidence" / f"{digest}.json"


def resolve(name: str | Path, models: Path) -> Path:
    """Return the folder that a checkpoint's name means: a path, or `model:NAME` in the registry.

    Raises:
        CheckpointError: there is no such model.
    """
    text = str(name)
    if not text.startswith(PREFIX):
        return Path(name)
    return Registry(models).open(text.removeprefix(PREFIX)).path
