"""A short soak of a real grid, as `launch.py soak` does it."""

import msgspec

from agents.soak.trend import Sample
from tests.support import markets
from tests.support.grids import LAUNCH, Grid


def test_grid_that_is_watched_for_a_while_is_shown_and_grows_by_nothing(tmp_path, addresses, procs):
    grid = Grid(tmp_path, addresses, markets.bar_columns(3_000),
                feed={"speed": 60, "lockstep": "false"})  # fmt: skip
    soak = procs.python(
        LAUNCH, "soak", "--minutes", "0.25", grid.config, "--home", grid.home.root,
        "--set", "node.ttl_ms=1000",
    )  # fmt: skip
    assert soak.wait(80) == 0, soak.text
    table = soak.text.partition("judged is the second half")[2].splitlines()[1:]
    names = ["supervisor", "broker", "recorder", "feed", "node", "agent-alpha"]
    assert [line.split()[0] for line in table[1:]] == names
    assert "fds/min" in table[0]
    (file,) = grid.home.reports.glob("soak-*.jsonl")
    lines = file.read_bytes().splitlines()
    samples = [msgspec.json.decode(line, type=Sample) for line in lines]
    assert {s.process for s in samples} == set(names)
    assert max(s.at_s for s in samples) > 10
    node = [s for s in samples if s.process == "node"]
    assert all(s.rss_kb > 50_000 and s.fds > 10 for s in node)
    assert any((s.events_per_s or 0.0) > 60 for s in node)
    assert not list((grid.home.root / "grids").glob("*.json"))  # it was stopped
