"""A dataset is there whole, or not at all, whatever happens to the process that makes it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envs import synthetic
from envs.data.importer import import_file
from envs.data.show import describe, table
from envs.data.write import HIDDEN
from grid.dataset import Dataset, names
from grid.errors import ArgonautError, DataError
from grid.home import Home
from tests.support.sources import BARS, EURUSD, ROOT, line, save

_IMPORT = """
import os, signal, sys
from pathlib import Path
from envs.data import catalog
from envs.data.importer import import_file
from grid.home import Home
from tests.support.sources import EURUSD

catalog.CHUNK_ROWS = 2
root = Path(sys.argv[1])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def import_(**options):
    import_file(root / "rows.csv", EURUSD, name="x", home=Home(root), **options)
"""


def run(root: Path, code: str) -> int:
    """Run an import in a process of its own; return its exit status."""
    command = [sys.executable, "-c", _IMPORT + code, str(root)]
    done = subprocess.run(
        command, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.returncode


def left_over(home: Home) -> list[Path]:
    return list((home.datasets / HIDDEN).iterdir())


def test_import_killed_half_way_leaves_nothing_to_see(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = save(tmp_path, BARS)
    assert run(tmp_path, "import_(progress=die)") == -signal.SIGKILL
    assert names(home.datasets) == []
    assert not (home.datasets / "x").exists()
    assert len(left_over(home)) == 1
    manifest = import_file(path, EURUSD, name="x", home=home)
    assert names(home.datasets) == ["x"]
    assert Dataset.find(home.datasets, "x").manifest == manifest
    assert left_over(home) == []


def test_import_killed_with_everything_written_but_the_name_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    save(tmp_path, BARS)
    code = "from envs.data import write\nwrite._place = die\nimport_()"
    assert run(tmp_path, code) == -signal.SIGKILL
    assert list((home.datasets / HIDDEN).rglob("dataset.json"))
    assert names(home.datasets) == []


def test_replacing_killed_before_the_new_is_named_gives_the_old_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    old = import_file(save(tmp_path, BARS), EURUSD, name="x", home=home)
    save(tmp_path, line(BARS, 5, ""))
    code = """
rename = Path.rename
def first_only(self, target):
    rename(self, target)
    die()
Path.rename = first_only
import_(replace=True)
"""
    assert run(tmp_path, code) == -signal.SIGKILL
    assert names(home.datasets) == []
    synthetic.write_synthetic("walk", "other", home, n=10)
    assert names(home.datasets) == ["other", "x"]
    assert Dataset.find(home.datasets, "x").manifest == old


def test_replacing_killed_while_it_writes_leaves_the_old(tmp_path: Path) -> None:
    home = Home(tmp_path)
    old = import_file(save(tmp_path, BARS), EURUSD, name="x", home=home)
    save(tmp_path, line(BARS, 5, ""))
    assert run(tmp_path, "import_(replace=True, progress=die)") == -signal.SIGKILL
    dataset = Dataset.find(home.datasets, "x")
    dataset.verify()
    assert dataset.manifest == old


def test_import_leaves_alone_what_another_is_writing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = save(tmp_path, BARS)

    def meanwhile(done: int, rows: int) -> None:
        if not (home.datasets / "y").exists():
            import_file(path, EURUSD, name="y", home=home)

    import_file(path, EURUSD, name="x", home=home, progress=meanwhile)
    assert names(home.datasets) == ["x", "y"]
    assert left_over(home) == []


def test_import_of_a_name_that_was_taken_meanwhile_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = save(tmp_path, BARS)

    def meanwhile(done: int, rows: int) -> None:
        import_file(path, EURUSD, name="x", home=home)

    with pytest.raises(DataError, match="was taken meanwhile"):
        import_file(path, EURUSD, name="x", home=home, progress=meanwhile)
    assert names(home.datasets) == ["x"]
    assert left_over(home) == []


def test_import_that_fails_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = save(tmp_path, line(BARS, 3, "x"))
    with pytest.raises(DataError):
        import_file(path, EURUSD, name="x", home=home)
    assert not home.datasets.exists()

    def interrupted(done: int, rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_file(save(tmp_path, BARS), EURUSD, name="x", home=home, progress=interrupted)
    assert names(home.datasets) == []
    assert left_over(home) == []


def test_import_under_a_name_that_is_there_is_refused_unless_it_replaces(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = save(tmp_path, BARS)
    first = import_file(path, EURUSD, name="x", home=home)
    with pytest.raises(DataError, match="dataset x is already in"):
        import_file(path, EURUSD, name="x", home=home)
    same = import_file(path, EURUSD, name="x", home=home, replace=True)
    assert same == first
    save(tmp_path, line(BARS, 5, ""))
    second = import_file(path, EURUSD, name="x", home=home, replace=True)
    assert (second.rows, first.rows) == (3, 4)
    assert second.fingerprint != first.fingerprint
    dataset = Dataset.find(home.datasets, "x")
    dataset.verify()
    assert dataset.manifest == second
    assert left_over(home) == []


@pytest.mark.parametrize("name", ["", ".x", "a/b", "..", "a b", HIDDEN, "x" * 101])
def test_import_under_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="dataset name"):
        import_file(save(tmp_path, BARS), EURUSD, name=name, home=Home(tmp_path))


def test_import_where_nothing_can_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "datasets").write_text("a file, not a folder")
    with pytest.raises(ArgonautError, match="cannot be written") as e:
        import_file(save(tmp_path, BARS), EURUSD, name="x", home=Home(tmp_path))
    assert e.value.exit_code == 1


def test_fingerprint_follows_the_rows_and_the_instrument_only(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = save(tmp_path, BARS)
    one = import_file(path, EURUSD, name="one", home=home)
    shuffled = save(tmp_path, "\n".join(BARS.splitlines()[i] for i in (0, 2, 1, 4, 3)), "s.csv")
    two = import_file(shuffled, EURUSD, name="two", home=home, repair=True)
    assert two.quality.out_of_order == 2
    assert one.fingerprint == two.fingerprint
    ask = import_file(path, EURUSD, name="ask", home=home, bar="1-MINUTE-ASK")
    assert ask.fingerprint != one.fingerprint


def test_describe_tells_all_that_a_person_asks(tmp_path: Path) -> None:
    home = Home(tmp_path)
    text = BARS + "2024-01-03 00:00:00,1.1,1.2,1.1,1.2,3\n2024-01-03 00:01:00,1.1,1,1.1,1.2,3\n"
    manifest = import_file(save(tmp_path, text), EURUSD, name="x", home=home, repair=True)
    said = describe(Dataset.find(home.datasets, "x"), verify=True)
    for fact in (
        "EUR/USD.SIM, CurrencyPair, tick 0.00001, lot 1",
        "bars 1-MINUTE-MID",
        "2024-01-01 00:01:00 to 2024-01-03 00:00:00 UTC",
        f"{manifest.fingerprint}, verified",
        "rows.csv",
        "6 rows; 1 dropped, crossed",
        "1 longer than 5 min",
        "2024-01-01 00:04:00  47.93 h",
        "2024-01-01T00:01:00.000000000  1.10000  1.10020  1.09990  1.10010       5",
    ):
        assert fact in said


def test_describe_of_changed_columns_fails_when_it_verifies(tmp_path: Path) -> None:
    home = Home(tmp_path)
    import_file(save(tmp_path, BARS), EURUSD, name="x", home=home)
    file = home.datasets / "x" / "columns" / "low.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    describe(Dataset.find(home.datasets, "x"))
    with pytest.raises(DataError, match="fingerprint"):
        describe(Dataset.find(home.datasets, "x"), verify=True)


def test_table_lists_datasets_and_says_which_are_damaged(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert "no dataset" in table(home)
    import_file(save(tmp_path, BARS), EURUSD, name="x", home=home)
    synthetic.write_synthetic("signal", "y", home, n=20)
    rows = table(home).splitlines()
    assert [row.split()[0] for row in rows] == ["name", "x", "y"]
    os.truncate(home.datasets / "y" / "columns" / "open.npy", 100)
    assert "damaged dataset" in table(home).splitlines()[-1]


def test_write_synthetic_gives_a_dataset_that_opens(tmp_path: Path) -> None:
    home = Home(tmp_path)
    manifest = synthetic.write_synthetic("signal", "s", home, n=200, seed=3)
    dataset = Dataset.find(home.datasets, "s")
    dataset.verify()
    market = synthetic.signal(200, seed=3)
    assert dataset.columns["close"].tolist() == market.columns["close"].tolist()
    assert (manifest.bar, manifest.rows) == ("1-MINUTE-MID", 200)
    assert "seed 3" in manifest.source
    walk = synthetic.write_synthetic("walk", "w", home, n=200, seed=3)
    assert "snr 0," in walk.source
    with pytest.raises(DataError, match="signal or walk expected"):
        synthetic.write_synthetic("trend", "t", home)  # type: ignore[arg-type]
