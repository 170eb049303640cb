"""docs/guides/model-server.md, typed line by line."""

import os
import re
import subprocess
import sys

import pytest

from grid.serving.config import ServingConfig
from tests.support import markets
from tests.support.grids import ROOT, Grid

RUN = ".argonaut/runs/eurusd-ppo"


@pytest.mark.timeout(180)
def test_guide_does_what_it_says_when_it_is_typed(tmp_path, addresses, procs):
    text = (ROOT / "docs" / "guides" / "model-server.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    grid = Grid(tmp_path, addresses, markets.bar_columns(160))
    config = tmp_path / "serving.toml"
    shipped = (ROOT / "configs" / "serving.toml").read_text()
    config.write_text(re.sub(r"port = \d+", "port = 0", shipped.replace(":5580", ":*")))
    places = {
        "uv run launch.py": f"{sys.executable} launch.py",
        "uv run python": sys.executable,
        "configs/serving.toml": str(config),
        "configs/grid.toml": str(grid.config),
        ".argonaut/asks.toml": str(tmp_path / "asks.toml"),
        RUN: str(grid.checkpoint.path),
    }
    said = {}
    for written in lines:
        line = written
        for there, here in places.items():
            line = line.replace(there, here)
        if line.startswith(f"{sys.executable} launch.py"):
            line = f"{line.removesuffix('&')} --home {grid.home.root}"
        if written.endswith("&"):
            server = procs.start("bash", "-c", f"cd {ROOT} && exec {line}")
            places["http://127.0.0.1:8080"] = server.expect("HTTP: ").rpartition(" ")[2]
            server.expect("ready: ")
            continue
        done = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        said[written] = done.stdout

    def answer(part):
        return next(out for line, out in said.items() if part in line)

    assert answer("/ping") == '{"status":"Healthy"}'
    said_best = r"outputs \[.*\], the highest is number [012]"
    assert re.match(said_best, answer("ask_model.py"))
    counted = answer("requests_total").splitlines()[-1]
    assert 'outcome="ok"' in counted
    (run,) = grid.runs()
    assert float(counted.rpartition(" ")[2]) > 1  # more than the script's
    assert grid.checkpoint.digest in {
        getattr(getattr(event, "action", None), "policy", "") for _, event in run.events
    }


def test_shipped_config_has_every_key_of_a_server():
    text = (ROOT / "configs" / "serving.toml").read_text()
    for key in ServingConfig.__struct_fields__:
        assert re.search(rf"^(# )?\[*{key}( =|\])", text, flags=re.MULTILINE), key
