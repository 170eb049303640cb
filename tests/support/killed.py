"""A training run that is killed, and what can be compared once it went on."""

import subprocess
import sys
from pathlib import Path

import msgspec
import psutil

from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from grid.config import dump
from grid.home import Home
from tests.support.wait import until

SCRIPT = """
import sys
from pathlib import Path
import msgspec
from agents.config import RunConfig
from agents.training import train
from grid.config import convert
from grid.home import Home

if __name__ == "__main__":
    tree = msgspec.json.decode(sys.argv[2])
    train(convert(tree, RunConfig, "test"), Home(Path(sys.argv[1])), progress=False)
"""


def trained(checkpoint: Path) -> dict[str, str]:
    """Hashes of all that training made; not of what the manifest says about circumstances."""
    return {name: ref.sha256 for name, ref in Checkpoint.open(checkpoint).manifest.files.items()}


def kill_after_first_checkpoint(home: Home, config: RunConfig, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [
        sys.executable,
        str(script),
        str(home.root),
        msgspec.json.encode(dump(config)).decode(),
    ]
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(command, cwd=root, env={"PYTHONPATH": root})
    try:
        latest = home.runs / config.name / "latest"
        until(lambda: latest.exists() or child.poll() is not None, 60, "a first checkpoint")
        assert child.poll() is None, "the run ended before it could be killed"
        family = psutil.Process(child.pid).children(recursive=True)
        assert len(family) >= (config.run.n_envs if config.run.n_envs > 1 else 0)
    finally:
        child.kill()
        child.wait(10)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, "processes outlived the trainer"
