"""The command line as strangers use it: each case is a command of its own, in a home of its own.

What is wrong with the input is said in one sentence on stderr, with exit code 2; 1 means that the
work failed. Nothing is left behind by either.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

import launch
from grid.bus import Addresses
from grid.config import dump
from tests.support import markets, runs, sources
from tests.support.grids import LAUNCH, Grid
from tests.support.procs import Procs, until

ROOT = LAUNCH.parent
EURUSD = ROOT / "configs" / "instruments" / "eurusd.toml"
PPO = ROOT / "configs" / "train" / "eurusd-ppo.toml"
GRID = ROOT / "configs" / "grid.toml"
DATA = [f"data {verb}" for verb in ("import", "list", "info", "demo", "synthetic", "features")]
SESSIONS = ["sessions list", "sessions info", "sessions export"]
CHILDREN = ["broker", "record", "feed", "node", "agent"]
ALONE = ["train", "evaluate", "checkpoint", "up", "status", "halt", "resume", "flatten"]
REST = ["check lookahead", "replay", "bench", "demo"]
COMMANDS = [*DATA, *SESSIONS, *CHILDREN, *ALONE, *REST]


def run(*words: object, shell: str = "", **how) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, with `shell` behind it if given."""
    argv = [sys.executable, str(LAUNCH), *map(str, words)]
    if shell:
        argv = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *argv]
    how = {"input": "", "timeout": 60, "text": True, **how}
    return subprocess.run(argv, capture_output=True, check=False, **how)


@pytest.fixture
def here(capfd, monkeypatch, tmp_path):
    """Runs a command in this process, which is quick: for what must come to nothing."""

    def run_here(*words: object) -> subprocess.CompletedProcess[str]:
        try:
            code = launch.main([str(word) for word in words])
        except SystemExit as e:
            code = e.code
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    monkeypatch.chdir(tmp_path)
    return run_here


def refused(done: subprocess.CompletedProcess[str], said: str, code: int = 2) -> None:
    """Assert that a command ended with one sentence that holds `said`."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("argonaut: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert "fault of the program" not in done.stderr


def did(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command has done its work and return what it printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> list[str]:
    """What is below a folder, empty folders apart."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# -- the parser ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example(command):
    said = did(run(*command.split(), "--help"))
    assert said.splitlines()[-1].startswith(f"example: argonaut {command}")
    assert "--home FOLDER" in said


def test_installed_script_is_the_checkouts_own(tmp_path):
    script = Path(sys.executable).with_name("argonaut")
    done = subprocess.run([script, "data", "list"], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no dataset" in done.stdout
    where = "import launch; print(launch.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, capture_output=True,
                           text=True, timeout=60, check=True)  # fmt: skip
    assert Path(found.stdout.strip()) == LAUNCH


@pytest.mark.parametrize("group", ["", "data", "check", "sessions"])
def test_help_of_a_group_lists_its_commands(group):
    said = did(run(*group.split(), "--help"))
    assert "example: argonaut" in said
    for command in COMMANDS:
        if group in ("", command.split()[0]):
            assert f"\n    {command.removeprefix(group).split()[0]}" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "required: COMMAND; see argonaut --help"),
        ("nothing", "invalid choice: 'nothing' (choose from 'data', 'train'"),
        ("data", "data: the following arguments are required: VERB"),
        ("data import", "required: file, --instrument; see argonaut data import --help"),
        ("data import f --instrument i --columns when", "expected FIELD=NAME, found when"),
        ("data synthetic walk --name w --rows -1", "a whole number from 0, found '-1'"),
        ("data synthetic walk --name w --seed 1e3", "a whole number from 0, found '1e3'"),
        ("data synthetic flat --name w", "invalid choice: 'flat'"),
        ("evaluate x --rows all", "invalid choice: 'all' (choose from 'test', 'train')"),
        ("evaluate x --start 2020-01-01", "expected --start and --end together"),
        ("evaluate x --sibling y", "expected --sensitivity with --sibling, found it alone"),
        ("evaluate x --trials 0", "expected --trials of 1 or more, found 0"),
        ("train x.toml --resume --replace", "expected --resume or --replace, found both"),
        ("broker", "required: --config"),
        ("agent --config x.toml", "required: --id"),
        ("status --seconds nan", "expected a number from 0, found 'nan'"),
        ("replay x --to bus --speed -1", "expected a number from 0, found '-1'"),
        ("bench nothing", "invalid choice: 'nothing'"),
        ("data list --home {file}", "expected a folder, found '{file}'"),
    ],
)
def test_wrong_words_are_refused_in_one_sentence(here, tmp_path, words, said):
    file = tmp_path / "file"
    file.touch()
    refused(here(*words.format(file=file).split()), said.format(file=file))
    assert files(tmp_path) == ["file"]


# -- data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("EUR/USD.SIM", "EURUSD"), "key id: expected SYMBOL.VENUE"),
        (("price_precision = 5", ""), "missing key price_precision"),
        (("price_precision = 5", 'price_precision = "5"'), "price_precision: expected int"),
        (("price_precision = 5", "price_precision = 5\nfoo = 1"), "unknown key foo; there are"),
        (("currency_pair", "bond"), "expected one of currency_pair, crypto_perpetual"),
        (("type =", "type"), "not valid TOML"),
    ],
)
def test_import_with_a_wrong_instrument_names_file_and_key(here, tmp_path, change, said):
    source = sources.save(tmp_path, sources.BARS)
    toml = sources.save(tmp_path, EURUSD.read_text().replace(*change), "pair.toml")
    home = tmp_path / "home"
    done = here("data", "import", source, "--instrument", toml, "--home", home)
    refused(done, said)
    assert str(toml) in done.stderr
    assert not home.exists()


BAD_FILES = {
    "absent": (None, "absent.csv: cannot be read: No such file"),
    "empty": ("", ":1: expected a header"),
    "header": (sources.BARS.splitlines()[0], "expected bars, found no row"),
    "column": (sources.BARS.replace("close", "end"), "no column for close of bars; found"),
    "cell": (sources.line(sources.BARS, 3, "2024-01-01 00:02:00,x,1,1,1,6"), ":3: open: expected"),
    "short": (sources.line(sources.BARS, 3, "2024-01-01 00:02:00,1"), ":3: expected 6 fields"),
    "tick": (sources.BARS.replace("1.10020,1.10040", "1.100201,1.10040"), ":4: open: expected a"),
    "one": (sources.BARS[: sources.BARS.index("2024-01-01 00:02")], "found one time only"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_import_of_a_bad_file_says_where_and_leaves_nothing(here, tmp_path, name):
    text, said = BAD_FILES[name]
    source = tmp_path / f"{name}.csv"
    if text is not None:
        source.write_text(text)
    home = tmp_path / "home"
    refused(here("data", "import", source, "--instrument", EURUSD, "--home", home), said)
    assert not files(home)


def test_import_of_what_is_no_text_names_the_line(here, tmp_path):
    source = tmp_path / "bytes.csv"
    source.write_bytes(sources.BARS.encode() + b"\xff\xfe\n,,,\n" + bytes(range(256)))
    done = here("data", "import", source, "--instrument", EURUSD, "--home", tmp_path / "home")
    refused(done, "bytes.csv:6: expected text in UTF-8, found byte 0xff")


def test_data_is_imported_listed_described_and_replaced(tmp_path):
    home = tmp_path / "hô me"
    source = sources.save(tmp_path, sources.BARS, "rows.csv.gz")
    env = {**os.environ, "LC_ALL": "C"}
    words = ("data", "import", source, "--instrument", EURUSD, "--home", home)
    assert "bars of 1-MINUTE-MID, inferred from the rows" in did(run(*words, env=env))
    refused(run(*words), "dataset rows is already in")
    assert "inferred" not in did(run(*words, "--replace", "--bar", "1-MINUTE-ASK"))
    assert "bars 1-MINUTE-ASK" in did(run("data", "list", "--home", home, env=env))
    assert ", verified" in did(run("data", "info", "rows", "--verify", "--home", home, env=env))
    refused(run("data", "info", "row", "--home", home), "no dataset 'row'")


def test_data_that_is_damaged_is_told_and_does_not_hide_the_rest(tmp_path):
    home = tmp_path / "home"
    words = ("data", "synthetic", "walk", "--home", home)
    did(run(*words, "--name", "sound", "--rows", 50))
    refused(run(*words, "--name", "one", "--rows", 1), "expected 2 rows or more, found 1")
    for name in ("altered", "cut"):
        shutil.copytree(home / "datasets" / "sound", home / "datasets" / name)
    column = home / "datasets" / "altered" / "columns" / "close.npy"
    content = bytearray(column.read_bytes())
    content[-3] ^= 1
    column.write_bytes(content)
    (home / "datasets" / "cut" / "columns" / "close.npy").write_bytes(b"")
    refused(run("data", "info", "altered", "--verify", "--home", home), "fingerprint")
    refused(run("data", "info", "cut", "--home", home), "cut: damaged dataset")
    listed = did(run("data", "list", "--home", home))
    assert "sound" in listed
    assert "damaged dataset" in listed


# -- train and evaluate ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.foo=1", "unknown key run.foo; there are total_steps, n_envs"),
        ("run=1", "key run: expected table, found int"),
        ("run.total_steps=many", "key run.total_steps: expected int, found str"),
        ("run.total_steps=0", "key run.total_steps: expected int >= 1, found 0"),
        ("run.total_steps.x=1", "run.total_steps is a value, not a section"),
        ("run.total_steps", "expected section.key=value"),
        ("run.device=tpu", "key run.device: expected one of auto, cpu, cuda, found 'tpu'"),
        ("algo.name=a2c", "expected one of ppo, MaskablePPO, RecurrentPPO, dqn, sac, found 'a2c'"),
        ("algo.batch_size=1", "key algo.batch_size: expected 2 or more"),
        ("name=../x", "key name: expected up to 64 letters"),
        ("data.test=[2017-08-01, 2018-01-01]", "expected no overlap with data.train"),
        ("data.train=[soon, later]", "key data.train: expected array"),
    ],
)
def test_train_with_a_wrong_key_dies_before_anything_starts(here, tmp_path, override, said):
    done = here("train", PPO, "--set", override, "--home", tmp_path / "home")
    refused(done, said)
    assert not (tmp_path / "home").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home with a dataset, a checkpoint on it, and a config that trains on it."""
    folder = tmp_path_factory.mktemp("trained")
    home = runs.home_with_data(folder / "home")
    checkpoint = runs.checkpoint_on(home, home.runs / "tiny" / "checkpoints")
    config = folder / "tiny.toml"
    config.write_text(_toml(dump(runs.run_config(home))))
    return home, checkpoint, config


def _toml(tree: dict) -> str:
    values = [(k, v) for k, v in tree.items() if not isinstance(v, dict)]
    lines = [f"{k} = {msgspec.json.encode(v).decode()}" for k, v in values]
    for name, section in tree.items():
        if isinstance(section, dict):
            inner = _toml({f"{name}.{k}": v for k, v in section.items() if isinstance(v, dict)})
            plain = _toml({k: v for k, v in section.items() if not isinstance(v, dict)})
            lines.append(f"[{name}]\n{plain}\n{inner}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.train=[2000-01-01, 2001-01-01]", "holds 0 rows; the dataset runs from"),
        ("env.steps=100000", "steps an episode, found 100000"),
    ],
)
def test_train_on_what_is_not_there_makes_no_run(here, trained, override, said):
    home, _, config = trained
    refused(here("train", config, "--set", override, "--set", "name=n", "--home", home.root), said)
    assert not (home.runs / "n").exists()


def test_train_interrupted_goes_on_with_resume(trained, procs: Procs):
    home, _, config = trained
    more = ("--set", "run.total_steps=1000000", "--set", "run.n_envs=2", "--set", "name=long")
    words = (LAUNCH, "train", config, *more, "--home", home.root)
    train = procs.python(*words)
    until((home.runs / "long" / "latest").exists, "a first checkpoint")
    os.killpg(train.pid, signal.SIGINT)  # as a terminal does
    assert train.wait() == 130
    assert train.text.splitlines()[-1] == "argonaut: interrupted"
    assert "Traceback" not in train.text
    assert not procs.survivors()
    reached = (home.runs / "long" / "latest").read_text()
    train = procs.python(*words, "--resume", "--quiet")
    until(lambda: (home.runs / "long" / "latest").read_text() != reached, "a further checkpoint")
    os.killpg(train.pid, signal.SIGINT)
    assert train.wait() == 130
    assert train.text == "argonaut: interrupted\n"


def test_checkpoint_altered_or_absent_is_refused(here, trained, tmp_path):
    home, checkpoint, _ = trained
    assert checkpoint.digest in did(here("checkpoint", checkpoint.path))
    copy = Path(shutil.copytree(checkpoint.path, tmp_path / checkpoint.digest))
    content = bytearray((copy / "policy.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "policy.onnx").write_bytes(content)
    refused(here("checkpoint", copy), "policy.onnx: altered: expected")
    refused(here("evaluate", copy, "--home", home.root), "policy.onnx: altered")
    refused(here("checkpoint", tmp_path / "none"), "none: no such checkpoint")
    refused(here("checkpoint", tmp_path), "no checkpoint here")


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ("--start foo --end bar", "expected an ISO date or time", 2),
        ("--start 2030-01-01 --end 2031-01-01", "holds 0 rows; the dataset runs from", 2),
        ("--start 2031-01-01 --end 2030-01-01", "expected a start before the end", 2),
        ("--out /dev/null/x", "/dev/null/x: Not a directory", 1),
    ],
)
def test_evaluate_of_a_wrong_range_is_refused(here, trained, words, said, code):
    home, checkpoint, _ = trained
    refused(here("evaluate", checkpoint.path, *words.split(), "--home", home.root), said, code)


def test_evaluate_writes_where_it_says(trained):
    home, checkpoint, _ = trained
    said = did(run("evaluate", checkpoint.path, "--home", home.root))
    report = Path(said.splitlines()[-1].removeprefix("report: "))
    assert report.is_relative_to(home.reports)
    assert report.stat().st_size > 100_000


# -- the grid --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("foo=1", "unknown key foo; there are name, feed"),
        ("feed.speed=-1", "key feed.speed: expected float >= 0.0, found -1"),
        ("feed.start=soon", "expected an ISO date or time such as 2017-09-01, found 'soon'"),
        ("node.fallback=run", "key node.fallback: expected one of flatten, hold, found 'run'"),
        ("bus.feed=here", "key bus.feed: expected tcp://HOST:PORT or ipc://PATH, found 'here'"),
        ("bus.feed=tcp://127.0.0.1:99999", "expected a port from 1 to 65535"),
        ("bus.feed=tcp://127.0.0.1:5570", "different endpoints, found"),
        ("agents=[]", "key agents: expected array of length >= 1"),
        ("agents.id=x", "agents is a value, not a section"),
        ("feed.start=2017-10-02", "checkpoint: no such checkpoint"),  # a date needs no quotes
    ],
)
def test_up_with_a_wrong_config_starts_nothing(here, tmp_path, override, said):
    more = ("--set", "node.checkpoint=no/checkpoint", "--home", tmp_path / "home")
    refused(here("up", GRID, "--set", override, *more), said)
    assert not files(tmp_path)


@pytest.mark.parametrize("command", ["broker", "record", "feed", "agent --id alpha"])
def test_child_alone_refuses_a_wrong_config_or_name(tmp_path, command):
    words = (*command.split(), "--home", tmp_path / "home")
    refused(run(*words, "--config", "none.toml", cwd=tmp_path), "none.toml: cannot be read")
    refused(run(*words, "--config", GRID, "--name", "a b"), "--name: expected letters, digits")
    assert not files(tmp_path)


def test_agent_with_an_unknown_id_is_told_who_there_is(tmp_path):
    done = run("agent", "--config", GRID, "--id", "gamma", "--home", tmp_path / "home")
    refused(done, "--id: expected one of alpha, beta, found 'gamma'")


def test_status_without_a_grid_says_so(here, tmp_path):
    done = here("status", "--home", tmp_path / "home")
    assert (done.returncode, done.stdout.split(" in ")[0]) == (1, "no grid is running")
    done = here("status", "--config", GRID, "--seconds", "0.1", "--set", "x")
    refused(done, "unrecognized arguments: --set x")


def test_broker_on_a_taken_port_names_it(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        words = ("--config", GRID, "--set", f"bus.requests={address}", "--home", tmp_path / "home")
        refused(run("broker", *words), f"{address}: cannot be bound: Address already in use", 1)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A grid whose processes were started by hand, the broker last, and what they recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    addresses = Addresses.ipc(Path(tempfile.mkdtemp(prefix="argonaut-")))
    grid = Grid(folder, addresses, markets.bar_columns(1_200))  # chunks enough to lose one
    (folder / "procs").mkdir()
    procs = Procs(folder / "procs")
    try:
        children = [
            grid.child(procs, *command.split())
            for command in ("agent --id alpha", "node", "feed", "record", "broker")
        ]
        assert children[1].wait() == 0
        assert "record" in children[3].argv
        assert os.getpriority(os.PRIO_PROCESS, children[3].pid) > os.nice(0), "it goes last"
        assert children[3].stop() == 0
        others = [child.stop() for child in (children[0], children[2], children[4])]
        assert others == [0, 0, 0]
    finally:
        wrong = procs.close()
        shutil.rmtree(Path(addresses.feed.removeprefix("ipc://")).parent)
    assert not wrong
    return grid


def test_children_in_any_order_make_a_whole_session(recorded):
    (session,) = recorded.runs()
    assert session.ended
    assert len(session.outcomes) == recorded.live_rows
    assert {o.how for o in session.outcomes.values()} == {"action"}
    assert not session.missing


# -- sessions and replay ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["sessions info latest", "sessions export latest --name x", "replay latest"]
)
def test_session_that_is_not_there_is_refused(here, tmp_path, words):
    refused(here(*words.split(), "--home", tmp_path), "no session 'latest' in")
    assert not files(tmp_path)


@pytest.mark.parametrize("name", ["empty", "text", "cut", "noise", "folder"])
def test_session_that_is_none_is_refused_in_one_sentence(here, recorded, tmp_path, name):
    whole = _events(recorded).read_bytes()
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    else:
        contents = {"empty": b"", "text": b"hello", "cut": whole[:300], "noise": whole[:8] * 999}
        path.write_bytes(contents[name])
    home = ("--home", tmp_path / "home")
    refused(here("sessions", "export", path, "--name", "x", *home), str(path))
    assert not files(tmp_path / "home")


def _in_largest_chunk(content: bytearray) -> int:
    """Where the middle of the most events lies; an index beside them may be damaged unharmed."""
    chunks, at = [], 8
    while at + 9 <= len(content) - 8:
        opcode, size = content[at], int.from_bytes(content[at + 1 : at + 9], "little")
        chunks += [(size, at + 9 + size // 2)] if opcode == 6 else []
        at += 9 + size
    return max(chunks)[1]


def test_session_damaged_in_the_middle_gives_the_rest_and_says_so(recorded, tmp_path):
    content = bytearray(_events(recorded).read_bytes())
    middle = _in_largest_chunk(content)
    content[middle : middle + 64] = bytes(64)
    path = tmp_path / "damaged.mcap"
    path.write_bytes(content)
    home = ("--home", recorded.home.root)
    assert "are not readable" in did(run("sessions", "info", path, *home))
    refused(run("replay", path, *home), "recording: undamaged", 1)
    said = did(run("sessions", "export", path, "--name", "damaged", *home))
    assert "not whole: bytes" in said


def test_session_is_listed_described_replayed_and_exported(recorded):
    home = ("--home", recorded.home.root)
    session = _events(recorded).parent
    assert session.name in did(run("sessions", "list", *home))
    for name in ("latest", session.name, session):
        assert "damage     none" in did(run("sessions", "info", name, *home))
    assert "DIFFER" not in did(run("replay", "latest", *home))
    assert "agrees on" in did(run("replay", "latest", "--agent", "baseline:flat", *home))
    words = ("sessions", "export", "latest", "--name", "again", *home)
    assert "dataset      again" in did(run(*words))
    refused(run(*words), "dataset again is already in")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--step", "expected --to bus beside --speed, --step, --loop or --config"),
        ("--agent none", "none: no such checkpoint"),
        ("--agent baseline:none", "unknown baseline 'none'; there are: flat, hold"),
        ("--to bus --agent {other}", "window 2 expected, found 5"),
        ("--to bus --config none.toml", "none.toml: cannot be read"),
    ],
)
def test_replay_with_what_does_not_fit_is_refused(here, recorded, tmp_path, words, said):
    spec = msgspec.structs.replace(recorded.spec, window=5)
    said = said.replace("window 2", f"window {recorded.spec.window}")
    other = runs.checkpoint(tmp_path, spec).path
    words = words.format(other=other).split()
    refused(here("replay", "latest", *words, "--home", recorded.home.root), said)


def test_replay_without_the_checkpoint_says_which_is_missing(here, recorded, tmp_path):
    done = here("replay", _events(recorded).parent, "--home", tmp_path)
    refused(done, f"checkpoint {recorded.checkpoint.digest} expected in {tmp_path}")


@pytest.mark.parametrize(("typed", "decisions"), [("q\n", 0), ("\n\nq\n", 2), ("\n\n\n", 3)])
def test_replay_step_by_step_goes_as_far_as_it_is_told(recorded, typed, decisions):
    words = ("replay", "latest", "--to", "bus", "--step", "--home", recorded.home.root)
    assert f" {decisions} decisions\n" in did(run(*words, input=typed))


def test_streams_that_are_closed_or_full_raise_no_traceback(recorded):
    words = ("replay", "latest", "--to", "bus", "--step", "--home", recorded.home.root)
    assert " 0 decisions" in did(run(*words, shell="<&-"))
    listed = ("sessions", "list", "--home", recorded.home.root)
    did(run(*listed, shell=">&-"))
    left = run(*listed, shell="| head -1")  # 141 if head was quicker than the last line
    assert (left.returncode in (0, 141), left.stderr) == (True, "")
    refused(run(*listed, shell=">/dev/full"), "No space left on device", 1)


def _events(grid: Grid) -> Path:
    (path,) = grid.home.sessions.glob("*/events.mcap")
    return path
