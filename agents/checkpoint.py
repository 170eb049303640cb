"""One checkpoint on disk: a folder named by the digest of its manifest, whole or not there.

    DIGEST/manifest.json        what it is, and the hash of every other file
    DIGEST/policy.onnx          what acts: obs [1, obs_size] to one output for each action
    DIGEST/policy.safetensors   all weights of the policy, for going on with training
    DIGEST/golden.safetensors   observations with the outputs that they must give
    DIGEST/resume/              optimizer state and replay buffer; absent from older checkpoints

Nothing in it is a pickle, and no byte is used before its hash was compared. Light: no torch.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from envs.market_spec import MarketSpec
from grid.durable import sync_folder, write_synced
from grid.errors import CheckpointError
from grid.spec import Spec
from grid.venue import Venue

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
ONNX: Final = "policy.onnx"
WEIGHTS: Final = "policy.safetensors"
GOLDEN: Final = "golden.safetensors"
RESUME: Final = "resume"
LATEST: Final = "latest"
_NEEDED: Final = (ONNX, WEIGHTS, GOLDEN)
_DATA_ONLY: Final = (".onnx", ".safetensors", ".json")  # formats that cannot hold code to run

type Tensors = dict[str, NDArray[Any]]


class FileRef(msgspec.Struct, frozen=True):
    """Hash and size of a file."""

    sha256: str
    bytes: int


class DataRef(msgspec.Struct, frozen=True, kw_only=True):
    """The data that was learned from, and what was held out; rows are half-open ranges.

    Attributes:
        others: of a market, fingerprints of the datasets besides the first view's, by name.
    """

    name: str
    fingerprint: str
    train: tuple[str, str]
    train_rows: tuple[int, int]
    test: tuple[str, str]
    test_rows: tuple[int, int]
    others: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint is. No time of day in it: the same run gives the same digest.

    Attributes:
        algo: name of the algorithm, as in the config.
        spec: observation and action, with normalization; of a market that of its first view.
        spec_digest: of `spec`, or of `market`.
        venue: costs and rules that it was trained under.
        reward: name of the reward.
        reward_scale: its factor, resolved.
        data: what it was trained on.
        config: the whole run config, resolved.
        steps: decisions taken so far.
        segment: segments done so far.
        metrics: of the last segment of training, on training data.
        versions: of packages.
        commit: of the source, `+dirty` where it was changed.
        platform: system, machine and Python.
        files: path within the folder to hash and size.
        parent: digest of the checkpoint of another run that training began from, if any.
        market: observation and action on several instruments, or by orders.
    """

    algo: str
    spec: Spec
    spec_digest: str
    venue: Venue
    reward: str
    reward_scale: float
    data: DataRef
    config: dict[str, Any]
    seed: int
    steps: int
    segment: int
    metrics: dict[str, float]
    versions: dict[str, str]
    commit: str
    platform: str
    files: dict[str, FileRef] = {}
    version: int = VERSION
    parent: str = ""
    market: MarketSpec | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint whose files were verified when it was opened."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Open the checkpoint in folder `path`, or the latest one of the run in it.

        Raises:
            CheckpointError: there is none, a file is missing, altered or foreign, or it was
                written by another version.
        """
        folder = _folder(path)
        raw = _read(folder / MANIFEST)
        manifest = _manifest(raw, folder)
        if folder.name != _digest(raw):
            raise CheckpointError(
                f"{folder}: altered: the manifest's digest is {_digest(raw)}, the folder's name "
                f"is {folder.name}"
            )
        checkpoint = cls(folder, manifest)
        checkpoint._verify()
        return checkpoint

    @classmethod
    def write(cls, parent: Path, manifest: Manifest, files: dict[str, bytes]) -> "Checkpoint":
        """Write a checkpoint into folder `parent`; it appears under its digest when it is whole.

        Args:
            parent: made if there is none.
            manifest: `files` of it is filled in here.
            files: path within the checkpoint to content.
        """
        refs = {name: _ref(content) for name, content in sorted(files.items())}
        manifest = msgspec.structs.replace(manifest, files=refs)
        raw = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)
        target = parent / _digest(raw)
        if target.exists():
            return cls.open(target)
        parent.mkdir(parents=True, exist_ok=True)
        draft = parent / f".draft-{uuid4().hex}"
        try:
            for name, content in {**files, MANIFEST: raw}.items():
                file = draft / name
                file.parent.mkdir(parents=True, exist_ok=True)
                write_synced(file, content)
            for folder in {(draft / name).parent for name in files} | {draft}:
                sync_folder(folder)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        sync_folder(parent)
        return cls(target, manifest)

    @property
    def digest(self) -> str:
        """20 hex digits: the folder's name."""
        return self.path.name

    @property
    def resumable(self) -> bool:
        """Whether training can go on from here."""
        return (self.path / RESUME).is_dir()

    def read(self, name: str) -> bytes:
        """Return the content of a file, after comparing it with its hash."""
        if name not in self.manifest.files:
            raise CheckpointError(f"{self.path}: {name} is not in the manifest")
        want, content = self.manifest.files[name], _read(self.path / name)
        found = _ref(content)
        if found != want:
            raise CheckpointError(
                f"{self.path / name}: altered: expected {want.bytes} bytes with sha256 "
                f"{want.sha256[:12]}, found {found.bytes} with {found.sha256[:12]}"
            )
        return content

    def tensors(self, name: str) -> Tensors:
        """Return the arrays in a safetensors file."""
        return load_tensors(self.read(name), self.path / name)

    def _verify(self) -> None:
        listed = set(self.manifest.files)
        found = {str(p.relative_to(self.path)) for p in self.path.rglob("*") if not p.is_dir()} - {
            MANIFEST
        }
        if not self.resumable:
            listed -= {name for name in listed if name.startswith(f"{RESUME}/")}
        for name in sorted(found - listed):
            raise CheckpointError(f"{self.path}: found {name}, which is not in the manifest")
        for name in sorted((listed | set(_NEEDED)) - found):
            raise CheckpointError(f"{self.path}: {name} is missing")
        for name in sorted(listed):
            if Path(name).suffix not in _DATA_ONLY:
                raise CheckpointError(
                    f"{self.path}: expected only {', '.join(_DATA_ONLY)} files, found {name}"
                )
            self.read(name)


def describe(path: Path) -> str:
    """Return what a checkpoint is, for people, a line for each fact."""
    c = Checkpoint.open(path)
    m = c.manifest
    v = m.venue
    lines = {
        "checkpoint": c.digest,
        "path": str(c.path),
        "algorithm": f"{m.algo}, {m.steps:,} decisions in {m.segment} segments, seed {m.seed}",
        **(_of_target(m.spec) if m.market is None else _of_market(m.market)),
        "spec digest": m.spec_digest,
        "reward": f"{m.reward} x {m.reward_scale:.6g}",
        "venue": f"{v.taker_fee_bps:g} bps fee, {v.half_spread_bps:g} bps half spread, "
        f"latency {v.latency_text}, {v.account} account",
        "data": f"{m.data.name}, fingerprint {m.data.fingerprint}",
        "trained on": f"{m.data.train[0]} to {m.data.train[1]}, rows {_rows(m.data.train_rows)}",
        "held out": f"{m.data.test[0]} to {m.data.test[1]}, rows {_rows(m.data.test_rows)}",
        "in training": ", ".join(f"{k} {x:.4g}" for k, x in sorted(m.metrics.items())) or "-",
        "made with": ", ".join(f"{k} {x}" for k, x in sorted(m.versions.items())),
        "commit": m.commit or "unknown",
        "platform": m.platform,
        "resumable": "yes" if c.resumable else "no, a later checkpoint is",
        "size": f"{sum(f.bytes for f in m.files.values()):,} bytes in {len(m.files)} files",
    }
    return "\n".join(f"{key:<12} {text}" for key, text in lines.items())


def _of_target(spec: Spec) -> dict[str, str]:
    target = f"levels {list(spec.target.levels)}" if spec.target.kind == "discrete" else "[-1, 1]"
    return {
        "instrument": f"{spec.instrument_id}, {spec.bar or spec.rows} rows, "
        f"a decision every {spec.every}",
        "observation": f"{spec.window} rows of {', '.join(spec.features)}, and the account",
        "target": f"{target} of {spec.target.max_qty:g}",
    }


def _of_market(market: MarketSpec) -> dict[str, str]:
    clock = f"{market.timer_s:g} s" if market.timer_s else f"{market.every} rows of the first view"
    views = {
        f"view {v.name}": f"{v.spec.instrument_id}, {v.spec.bar or v.spec.rows} rows, "
        f"{v.spec.window} of {', '.join(v.spec.features)}"
        for v in market.views
    }
    return {"clock": f"a decision every {clock}", **views, "action": market.described}


def drop_resume(folder: Path) -> None:
    """Remove from a checkpoint what only further training needs; its manifest keeps the hashes."""
    gone = folder.parent / f".draft-{uuid4().hex}"
    (folder / RESUME).rename(gone)
    shutil.rmtree(gone)


def save_tensors(tensors: Tensors) -> bytes:
    """Return arrays as the bytes of a safetensors file."""
    content: bytes = safetensors.numpy.save(
        {name: np.asarray(array, order="C") for name, array in tensors.items()}
    )
    return content


def load_tensors(content: bytes, where: Path) -> Tensors:
    """Read the bytes of a safetensors file; `where` names them in the error."""
    try:
        tensors: Tensors = safetensors.numpy.load(content)
    except (SafetensorError, ValueError, KeyError) as e:
        raise CheckpointError(f"{where}: not a safetensors file: {e}") from e
    return tensors


def _folder(path: Path) -> Path:
    # a run's folder stands for its latest checkpoint, a symbolic link for what it points at
    folder = path.resolve()
    if not folder.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint")
    if (folder / LATEST).is_file():
        name = _read(folder / LATEST).decode(errors="replace").strip()
        folder = folder / "checkpoints" / Path(name).name
    if not (folder / MANIFEST).is_file():
        raise CheckpointError(f"{folder}: no checkpoint here, {MANIFEST} is missing")
    return folder


def _manifest(raw: bytes, folder: Path) -> Manifest:
    class Versioned(msgspec.Struct):
        version: int = 0

    try:
        version = msgspec.json.decode(raw, type=Versioned).version
        if version != VERSION:
            raise CheckpointError(
                f"{folder}: checkpoint version {VERSION} expected, found {version}"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise CheckpointError(f"{folder / MANIFEST}: damaged: {e}") from e
    digest = (manifest.market or manifest.spec).digest
    if digest != manifest.spec_digest:
        raise CheckpointError(
            f"{folder}: spec digest {manifest.spec_digest} expected, the spec gives {digest}"
        )
    return manifest


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as e:
        raise CheckpointError(f"{file}: cannot be read: {e.strerror}") from e


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:20]


def _ref(content: bytes) -> FileRef:
    return FileRef(hashlib.sha256(content).hexdigest(), len(content))


def _rows(rows: tuple[int, int]) -> str:
    return f"{rows[0]:,} to {rows[1]:,}"
