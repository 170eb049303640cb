"""The packed sessions of this checkout give the same orders and fills, to the last bit, always."""

import zipfile
from pathlib import Path

import msgspec
import pytest

import launch
from agents import packing
from grid import transcript, wire
from grid.limits import Meter
from grid.node.gate import Gate
from grid.node.intent import Intent
from grid.session import Session
from tests.bundles import make

FOLDER = Path(make.__file__).parent


def happened(runs, kind):
    return [event for run in runs for _, event in run.events if isinstance(event, kind)]


def outcomes(runs, how):
    return [o for o in happened(runs, wire.Outcome) if o.how == how]


def answers(runs, status):
    return [a.answer for a in happened(runs, wire.Acted) if a.answer.status == status]


# name -> what must be in it, or it would prove nothing
FACTS = {
    "accepted": lambda runs: (
        len(answers(runs, "accepted")) == len(outcomes(runs, "action")) == 40
        and len(answers(runs, "shadow")) > 30
        and len(happened(runs, wire.Fill)) > 5
    ),
    "quotes-slippage": lambda runs: len(happened(runs, wire.Fill)) > 5,
    "continuous": lambda runs: (
        len({o.target for o in outcomes(runs, "action")} - {-1.0, 0.0, 1.0}) > 2
    ),
    "hold-at-deadline": lambda runs: (
        {o.reason for o in outcomes(runs, "fallback")} == {"no action by the deadline"}
    ),
    "standby-takes-over": lambda runs: (
        [(t.before, t.agent_id) for t in happened(runs, wire.TookOver)][:1] == [("alpha", "beta")]
        and {o.agent_id for o in outcomes(runs, "action")} == {"alpha", "beta"}
    ),
    "limit-refuses": lambda runs: (
        {a.reason.split()[0] for a in answers(runs, "rejected")} == {"limits.max_notional"}
        and len(happened(runs, wire.Fill)) > 2
    ),
    "loss-halts": lambda runs: (
        [h.by for h in happened(runs, wire.Halted)] == ["limits"]
        and len(happened(runs, wire.Flattened)) == 1
        and any(a.reason.startswith("halted by limits") for a in answers(runs, "rejected"))
    ),
    "person-flattens": lambda runs: (
        len(happened(runs, wire.Flattened)) == len(happened(runs, wire.Resumed)) == 1
    ),
    "paper": lambda runs: len(happened(runs, wire.Fill)) > 5,
    "venue-restarts": lambda runs: {o.how for o in happened(runs, wire.Outcome)} == {"action"},
    "node-restarts": lambda runs: (
        [run.info.epoch for run in runs] == [1, 2] and len(happened(runs, wire.Restored)) == 1
    ),
    "gap-is-fetched": lambda runs: sum(run.missing for run in runs) == 0,
}


def unpacked(name, folder):
    """The runs in a bundle's recording, and all the events in it."""
    with zipfile.ZipFile(FOLDER / f"{name}.argonaut") as packed:
        packed.extract("session/events.mcap", folder)
        packed.extract("session/session.json", folder)
    return Session.open(folder / "session")


def altered(name, changes, folder):
    """A copy of a bundle with other members under the same names, told as if they were its own."""
    file = folder / "altered.argonaut"
    with zipfile.ZipFile(FOLDER / f"{name}.argonaut") as packed:
        members = {each: packed.read(each) for each in packed.namelist()}
    manifest = msgspec.json.decode(members.pop("manifest.json"), type=packing.Manifest)
    for member, change in changes.items():
        members[member] = change(members[member])
    packing.bundle.write(file, manifest, members)
    return file


def test_every_scenario_has_its_bundle_and_every_bundle_its_facts():
    names = {file.stem for file in FOLDER.glob("*.argonaut")}
    assert names == set(make.SCENARIOS) == set(FACTS)


@pytest.mark.parametrize("name", sorted(FACTS))
def test_bundle_is_equal_here_and_holds_its_mechanism(name, tmp_path):
    runs = transcript.read(unpacked(name, tmp_path))
    assert FACTS[name](runs)
    found = packing.validate(FOLDER / f"{name}.argonaut")
    assert found.equal, found.text
    assert "answers, limits: live = again" in found.text


def test_restart_of_the_broker_left_its_trace_and_no_hole(tmp_path):
    session = unpacked("gap-is-fetched", tmp_path)
    brokers = {e.epoch for _, e, _ in session if e.source == "broker"}
    assert len(brokers) == 2
    recorders = [wire.event(e) for _, e, _ in session if e.source == "recorder"]
    assert max(beat.counters["mended"] for beat in recorders) > 0


def test_alteration_of_the_action_rule_is_found_field_by_field(monkeypatch, capsys):
    rule = Intent._want
    monkeypatch.setattr(Intent, "_want", lambda self, target: rule(self, target) * 1.5)
    assert launch.main(["sessions", "validate", str(FOLDER / "accepted.argonaut")]) == 1
    said = capsys.readouterr().out
    assert "order 1: qty expected 10000.0 found 15000.0" in said
    assert "fill 1: commission expected" in said
    assert "DIFFER  orders: live = replay" in said


ALTERED = {
    "a deadline that is not kept": (
        "hold-at-deadline", Gate, "expire", lambda self, seq: False, "fallback on decision",
    ),
    "a standby that may not take over": (
        "standby-takes-over", Gate, "lapsed_ns", lambda self, now_ns: 0, "takeover by beta",
    ),
    "a limit that is not looked at": (
        "limit-refuses", Meter, "refusal", lambda *_: "", "limits.max_notional",
    ),
    "a loss that is not looked at": (
        "loss-halts", Meter, "breach", lambda *_: "", "limits.max_daily_loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize("alteration", sorted(ALTERED))
def test_alteration_of_gate_or_limits_is_found(alteration, monkeypatch):
    name, kind, method, instead, said = ALTERED[alteration]
    monkeypatch.setattr(kind, method, instead)
    found = packing.validate(FOLDER / f"{name}.argonaut")
    assert not found.equal
    assert said in found.text


def test_expectation_that_the_recording_does_not_bear_out_is_told_by_field(tmp_path):
    def dearer(content):
        expected = msgspec.json.decode(content)
        fill = expected[0]["fills"][2]
        fill[3] = 9.5
        del expected[0]["orders"][-1]
        return msgspec.json.encode(expected)

    found = packing.validate(altered("accepted", {"expected.json": dearer}, tmp_path))
    assert not found.equal
    assert "fill 3: px expected 9.5 found 1." in found.text
    assert "expected none found alpha-1" in found.text


def test_damaged_bundle_is_one_sentence_and_exit_code_two(tmp_path, capsys):
    whole = (FOLDER / "accepted.argonaut").read_bytes()
    middle = whole.index(b"\x89MCAP0") + 20_000
    broken = tmp_path / "broken.argonaut"
    broken.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert launch.main(["sessions", "validate", str(broken)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "session/events.mcap" in told.err
    assert len(told.err.splitlines()) == 1
