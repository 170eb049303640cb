"""One file with all that a replay needs: a zip of stored members with a digest of each.

    manifest.json                what it is, and the SHA-256 and size of every other member
    session/                     the recording: session.json, events.mcap
    checkpoints/DIGEST/          of every agent that acted, without what only training needs
    expected.json                the orders and fills that a replay must give, and the money
    config.json                  of the grid, resolved
    runs.json                    spec, instrument and venue of each run

Nothing is compressed, so nothing can swell when it is read; no name leads out of the folder that it
is unpacked into; and no byte is used before its digest was compared.
"""

import hashlib
import os
import re
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from grid import wire
from grid.durable import sync_folder
from grid.errors import SessionError

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MAX_MEMBERS: Final = 1_000
MAX_BYTES: Final = 4 << 30  # all members together
MAX_MANIFEST_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 1 << 20
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME: Final = re.compile(rf"{_PART}(/{_PART}){{0,4}}")
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the same session gives the same file


class Member(msgspec.Struct, frozen=True):
    """Digest and size of a member."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is.

    Attributes:
        session: id of the session.
        protocol: version of the wire.
        versions: package -> version, where it was packed.
        platform: system, machine and Python, where it was packed.
        members: path within the bundle to digest and size.
    """

    session: str
    protocol: int = wire.VERSION
    versions: dict[str, str] = {}
    platform: str = ""
    members: dict[str, Member] = {}
    version: int = VERSION


def write(file: Path, manifest: Manifest, members: dict[str, Path | bytes]) -> Manifest:
    """Write a bundle, whole or not at all; return its manifest with all members.

    Raises:
        SessionError: there is a file of that name.
    """
    if file.exists():
        raise SessionError(f"{file}: expected no file of that name, found one")
    refs = {name: _ref(content) for name, content in sorted(members.items())}
    manifest = msgspec.structs.replace(manifest, members=refs)
    raw = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        with draft.open("xb") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
                packed.writestr(_entry(MANIFEST, len(raw)), raw)
                for name, content in sorted(members.items()):
                    _add(packed, name, content, refs[name].bytes)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(file.parent)
    return manifest


def unpack(file: Path, folder: Path) -> Manifest:
    """Unpack a bundle into a folder, every member compared with its digest; return its manifest.

    Raises:
        SessionError: it is no bundle, damaged, or holds what no bundle may hold.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            entries = _entries(packed)
            manifest = _manifest(packed, entries)
            for name, member in manifest.members.items():
                _extract(packed, entries[name], member, folder / name)
    except OSError as e:
        raise SessionError(f"{file}: cannot be read: {e.strerror or e}") from e
    except (_Damage, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as e:
        raise SessionError(f"{file}: no bundle, or a damaged one: {e}") from e
    return manifest


class _Damage(Exception):
    pass


def _entries(packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found = packed.infolist()
    if len(found) > MAX_MEMBERS:
        raise _Damage(f"at most {MAX_MEMBERS} members expected, found {len(found)}")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        name = entry.filename
        if not _NAME.fullmatch(name) or name in entries:
            raise _Damage(f"a member is called {name[:80]!r}, or there are two of that name")
        mode = entry.external_attr >> 16
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _Damage(f"{name}: expected to be stored as it is, found it compressed")
        if entry.flag_bits & 1 or stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _Damage(f"{name}: expected a plain file, found another kind")
        entries[name] = entry
    if sum(entry.file_size for entry in found) > MAX_BYTES:
        raise _Damage(f"at most {MAX_BYTES:,} bytes expected, found more")
    return entries


def _manifest(packed: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> Manifest:
    entry = entries.get(MANIFEST)
    if entry is None or entry.file_size > MAX_MANIFEST_BYTES:
        raise _Damage(f"expected {MANIFEST} of at most {MAX_MANIFEST_BYTES:,} bytes")
    try:
        manifest = msgspec.json.decode(packed.read(entry), type=Manifest)
    except msgspec.MsgspecError as e:
        raise _Damage(f"{MANIFEST}: {e}") from e
    if manifest.version != VERSION or manifest.protocol != wire.VERSION:
        raise _Damage(
            f"version {VERSION} with protocol {wire.VERSION} expected, found {manifest.version} "
            f"with {manifest.protocol}"
        )
    listed, there = set(manifest.members), set(entries) - {MANIFEST}
    for name in sorted(listed ^ there):
        raise _Damage(f"{name}: {'missing' if name in listed else 'not in the manifest'}")
    return manifest


def _extract(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, want: Member, file: Path) -> None:
    if entry.file_size != want.bytes:
        raise _Damage(f"{entry.filename}: {want.bytes} bytes expected, found {entry.file_size}")
    file.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with packed.open(entry) as member, file.open("xb") as out:
        while block := member.read(_BLOCK_BYTES):
            found.update(block)
            out.write(block)
    if found.hexdigest() != want.sha256:
        raise _Damage(
            f"{entry.filename}: sha256 {want.sha256[:12]} expected, found {found.hexdigest()[:12]}"
        )


def _ref(content: Path | bytes) -> Member:
    if isinstance(content, bytes):
        return Member(hashlib.sha256(content).hexdigest(), len(content))
    with content.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Member(digest, content.stat().st_size)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _NO_TIME)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = size
    return entry


def _add(packed: zipfile.ZipFile, name: str, content: Path | bytes, size: int) -> None:
    with packed.open(_entry(name, size), "w") as member:
        if isinstance(content, bytes):
            member.write(content)
            return
        with content.open("rb") as opened:
            shutil.copyfileobj(opened, member, _BLOCK_BYTES)
