import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agents.checkpoint import (
    ONNX,
    WEIGHTS,
    Checkpoint,
    describe,
    drop_resume,
    load_tensors,
    save_tensors,
)
from agents.policy import load_policy
from grid.errors import CheckpointError
from tests.support import runs


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def rewritten(checkpoint: Checkpoint, files: dict[str, bytes], **fields: Any) -> Checkpoint:
    """The same checkpoint with other files, its hashes in order."""
    manifest = msgspec.structs.replace(checkpoint.manifest, **fields)
    kept = {name: checkpoint.read(name) for name in checkpoint.manifest.files}
    return Checkpoint.write(checkpoint.path.parent, manifest, {**kept, **files})


def test_checkpoint_written_and_opened_is_equal(tmp_path: Path) -> None:
    written = runs.checkpoint(tmp_path)
    opened = Checkpoint.open(written.path)
    assert opened.manifest == written.manifest
    assert opened.digest == written.path.name
    assert opened.resumable
    assert not list(tmp_path.glob(".*"))


def test_checkpoint_same_content_has_the_same_name(tmp_path: Path) -> None:
    assert runs.checkpoint(tmp_path).path == runs.checkpoint(tmp_path).path
    assert runs.checkpoint(tmp_path, seed=1).path != runs.checkpoint(tmp_path).path


def test_checkpoint_of_a_run_is_its_latest(tmp_path: Path) -> None:
    written = runs.checkpoint(tmp_path / "checkpoints")
    (tmp_path / "latest").write_text(written.digest + "\n")
    assert Checkpoint.open(tmp_path).path == written.path
    (tmp_path / "live").symlink_to(written.path)
    assert Checkpoint.open(tmp_path / "live").path == written.path


@pytest.mark.parametrize("name", ["manifest.json", ONNX, WEIGHTS, "golden.safetensors"])
def test_checkpoint_altered_byte_is_refused(tmp_path: Path, name: str) -> None:
    file = runs.checkpoint(tmp_path).path / name
    content = bytearray(file.read_bytes())
    # in the manifest a digit is changed, so that it stays readable
    at = content.index(b'"seed": 0') + 8 if name == "manifest.json" else len(content) // 2
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="altered"):
        Checkpoint.open(file.parent)


@pytest.mark.parametrize("name", ["manifest.json", ONNX, "resume/counters.json"])
def test_checkpoint_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    checkpoint = runs.checkpoint(tmp_path)
    (checkpoint.path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        Checkpoint.open(checkpoint.path)


def test_checkpoint_without_resume_opens_and_says_so(tmp_path: Path) -> None:
    checkpoint = runs.checkpoint(tmp_path)
    drop_resume(checkpoint.path)
    assert not Checkpoint.open(checkpoint.path).resumable
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.digest]


def test_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    other = rewritten(runs.checkpoint(tmp_path), {}, version=2)
    with pytest.raises(CheckpointError, match="checkpoint version 1 expected, found 2"):
        Checkpoint.open(other.path)


def test_checkpoint_with_another_spec_digest_is_refused(tmp_path: Path) -> None:
    other = rewritten(runs.checkpoint(tmp_path), {}, spec_digest="0" * 32)
    with pytest.raises(CheckpointError, match="spec digest"):
        Checkpoint.open(other.path)


def test_checkpoint_pickle_beside_the_files_is_refused_unread(tmp_path: Path) -> None:
    checkpoint, mark = runs.checkpoint(tmp_path), tmp_path / "exploded"
    (checkpoint.path / "resume" / "policy.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CheckpointError, match=r"found resume/policy\.pkl"):
        load_policy(checkpoint.path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["policy.pkl", WEIGHTS, ONNX, "golden.safetensors"])
def test_checkpoint_pickle_in_the_manifest_is_refused_unread(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "exploded"
    bomb = {name: pickle.dumps(Bomb(mark))}
    checkpoint = rewritten(runs.checkpoint(tmp_path / "checkpoints"), bomb)
    with pytest.raises(CheckpointError):
        Checkpoint.open(checkpoint.path).tensors(name if name != ONNX else WEIGHTS) and load_policy(
            checkpoint.path
        )
    assert not mark.exists()


def test_checkpoint_renamed_folder_is_refused(tmp_path: Path) -> None:
    checkpoint = runs.checkpoint(tmp_path)
    moved = tmp_path / "best"
    shutil.move(checkpoint.path, moved)
    with pytest.raises(CheckpointError, match="digest"):
        Checkpoint.open(moved)


def test_checkpoint_nowhere_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        Checkpoint.open(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        Checkpoint.open(tmp_path)


def test_manifest_is_plain_json(tmp_path: Path) -> None:
    tree = json.loads((runs.checkpoint(tmp_path).path / "manifest.json").read_text())
    assert tree["spec"]["features"] == list(runs.SPEC.features)
    assert tree["files"][ONNX].keys() == {"sha256", "bytes"}


def test_describe_names_data_spec_and_costs(tmp_path: Path) -> None:
    text = describe(runs.checkpoint(tmp_path).path)
    for fact in ("EUR/USD.SIM", runs.SPEC.digest, "0.5 bps fee", "log_return:5", "rows 600 to 900"):
        assert fact in text


def test_tensors_survive_and_foreign_bytes_do_not() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.float32(3.0)}
    back = load_tensors(save_tensors({k: np.asarray(v) for k, v in arrays.items()}), Path("x"))
    assert all(np.array_equal(back[k], v) for k, v in arrays.items())
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_tensors(b"\x80\x04junk", Path("x"))
