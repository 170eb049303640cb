from grid import wire
from grid.status import ProcessStatus, Snapshot, fold, render


def beat(name: str, uptime_s: float, counters: dict[str, float], **streams: int) -> wire.Heartbeat:
    return wire.Heartbeat(name, "role", 42, "running", uptime_s, counters, streams)


def test_fold_keeps_first_and_last_heartbeat_of_each_process() -> None:
    found: dict[str, ProcessStatus] = {}
    for n in range(3):
        found = fold(found, beat("node", float(n), {}, a=10 * n), 1)
    assert (found["node"].first.uptime_s, found["node"].last.uptime_s) == (0.0, 2.0)
    assert found["node"].events_per_s == 10.0


def test_fold_of_a_new_epoch_begins_anew_and_ignores_the_old() -> None:
    found = fold({}, beat("node", 100.0, {}, a=1000), 1)
    found = fold(found, beat("node", 1.0, {}, a=5), 2)
    found = fold(found, beat("node", 101.0, {}, a=1001), 1)
    assert found["node"].last.uptime_s == 1.0
    assert found["node"].events_per_s is None


def test_rate_is_of_what_went_through_where_a_process_counts_it() -> None:
    found = fold({}, beat("broker", 1.0, {"events_in": 100.0}, a=1), 1)
    found = fold(found, beat("broker", 3.0, {"events_in": 700.0}, a=2), 1)
    assert found["broker"].events_per_s == 300.0


def test_render_shows_processes_in_columns_and_says_what_is_missing() -> None:
    found = fold({}, beat("node", 1.0, {"late": 2.0, "position_qty": -10_000.0}), 1)
    found = fold(found, beat("broker", 1.0, {"dropped": 0.0}), 1)
    lines = render(Snapshot(found, ("beta",), "tcp://x:1", 2.5)).splitlines()
    assert lines[0].split() == [
        *("process", "role", "pid", "state", "uptime", "events/s"),
        *("gaps", "missing", "late", "dropped", "position"),
    ]
    assert lines[1].split() == [
        "broker",
        "role",
        "42",
        "running",
        "1",
        "s",
        "-",
        "-",
        "-",
        "-",
        "0",
        "-",
    ]
    assert lines[2].split()[-5:] == ["-", "-", "2", "-", "-10,000"]
    assert lines[3] == "not heard within 2.5 s: beta"


def test_render_shows_what_a_bridge_has_dropped_and_misses() -> None:
    counters = {"missing": 3.0, "dropped": 1.0, "events_dropped": 40.0}
    found = fold({}, beat("bridge-redis", 1.0, counters), 1)
    line = render(Snapshot(found, (), "tcp://x:1", 2.5)).splitlines()[1]
    assert line.split()[-5:] == ["-", "3", "-", "41", "-"]


def test_render_of_silence_names_the_address() -> None:
    assert render(Snapshot({}, (), "tcp://x:1", 2.0)) == "no heartbeat at tcp://x:1 within 2 s"
