"""The pages of training grids and of recorded sessions in a real browser: screen equals API."""

from typing import Any

import pytest

from agents.gridreport.report import write
from grid import wire
from grid.home import Home
from grid.session import Session
from grid.transcript import read
from tests.support import bundles, markets
from tests.support import grids_of_trials as trials
from tests.support.gateways import Gateway
from tests.support.grids import Grid
from tests.support.procs import Proc, until
from tests.support.screens import PHONE, Screen, screen, shown

pytestmark = pytest.mark.timeout(240)
NONE = "\u2013"


def figure(value: float | None) -> str:
    """Return a score or a reward as the page writes it."""
    if value is None:
        return NONE
    size = abs(value)
    if size != 0.0 and (size < 1e-4 or size >= 1e7):
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"{mantissa}e{int(power):+d}".replace("-", "\u2212")
    return shown(value, 1 if size >= 100 else 2 if size >= 1 else 4)


def alone(grid: Grid, procs: Any, **options: Any) -> tuple[Gateway, Proc]:
    """A gateway without a grid that trades: what these pages show lies on the disk."""
    gateway = Gateway(grid, **{"rate_per_s": 1_000, "burst": 1_000, **options})
    process = grid.child(procs, "gateway")
    process.ready()
    return gateway, process


def check_phone_and_colours(seen: Screen) -> None:
    dark = seen.style("backgroundColor")
    seen.page.keyboard.press("t")  # auto, then dark, then light
    seen.page.keyboard.press("t")
    until(lambda: seen.style("backgroundColor") != dark, "the light page")
    seen.page.set_viewport_size(PHONE)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_training_page_follows_a_grid_to_its_end_and_tells_what_the_api_does(
    tmp_path, addresses, procs
):
    grid = Grid(tmp_path, addresses, markets.bar_columns(900))
    tree = trials.grid_tree(
        "page",
        base=trials.base_tree(total_steps=512, checkpoint_every_steps=128),
        axes={"env.reward": ["log_equity", trials.BROKEN], "env.window": [2, 3]},
        workers={"processes": 2, "retries": 1},
    )
    launcher = trials.launch(grid.home, tree, tmp_path / "launcher.log")
    try:
        gateway, _ = alone(grid, procs)
        gateway.until("training", lambda found: found["items"] and found["items"][0]["trials"])
        with screen(gateway, "/training") as seen:
            seen.until("state", lambda text: text == "running")
            seen.until("trials", lambda text: "running" in text or "starting" in text)
            assert "when the grid has ended" in seen.text("verdict")
            assert launcher.wait(150) == 0
            seen.until("state", lambda text: text == "complete")  # by itself
            seen.until("verdict", lambda text: "worked out" not in text and "ended" not in text)
            _training(seen, gateway, grid.home)
    finally:
        launcher.kill()
        launcher.wait(20)


def _training(seen: Screen, gateway: Gateway, home: Home) -> None:
    detail = gateway.get("training/page")
    told = gateway.get("training/page/trials", limit=500)["items"][::-1]
    until(lambda: seen.data("revision") == detail["grid"]["revision"], "the last revision")
    assert seen.text("done") == f"{detail['grid']['phases']['done']} of 4" == "2 of 4"
    assert (seen.text("eta"), seen.text("deaths")) == (NONE, "4")
    assert seen.text("best") == figure(detail["best"]["score"])
    assert detail["verdict"]["source"] == "quick"
    assert seen.text("verdict") == detail["verdict"]["line"]

    seen.page.locator("#order").select_option("n")
    rows = seen.rows("trials")
    assert rows == [
        [
            t["id"], t["params"], str(t["fold"]), str(t["seed"]), t["phase"], shown(t["steps"]),
            NONE, figure(t["reward"]), figure(t["score"]), shown(t["retries"]), NONE,
        ]
        for t in told
    ]  # fmt: skip
    assert {t["phase"] for t in told} == {"done", "failed"}
    assert [t["retries"] for t in told if t["phase"] == "failed"] == [1, 1]

    # curves: a line each trial that has a reward; arrows name it, with its last figure
    curves = gateway.get("training/page/curves")["items"][::-1]
    lines = [c for c in curves if c["reward"]]
    assert [len(line["reward"]) for line in lines] == [4, 4]  # one at each checkpoint
    assert seen.page.locator("#curves").get_attribute("data-lines") == "2"
    seen.page.locator("#curves").focus()
    for line in lines:
        seen.page.keyboard.press("ArrowDown")
        steps, value = line["reward"][-1]
        said = f"{line['trial']} ({line['params']}), done: reward {figure(value)}"
        assert seen.text("reading") == f"{said} after {shown(steps)} decisions"
    seen.page.keyboard.press("s")
    assert seen.page.locator("#by-score").get_attribute("aria-pressed") == "true"
    assert f"score {figure(lines[-1]['score'][-1][1])}" in seen.text("reading")
    assert seen.page.locator("#curves").get_attribute("data-lines") == "2"

    failures = gateway.get("training/page/failures")["items"]
    assert seen.page.locator("#failures details").count() == len(failures) == 4
    assert "this reward is broken" in seen.page.locator("#failures details[open] pre").inner_text()
    assert seen.text("failures").count("given up") == 2
    assert seen.text("failures").count("(RuntimeError: this reward is broken)") == 4

    # the report says the same, and then the page says that it is the report's
    write(home, "page", play=False)
    assert gateway.get("training/page")["verdict"]["source"] == "report"
    seen.until("verdict-from", lambda text: text.startswith("from the report of"))
    assert seen.text("verdict") == detail["verdict"]["line"]
    assert gateway.client.get("training/none").status_code == 404
    check_phone_and_colours(seen)


def test_session_page_plays_steps_and_shows_what_the_api_tells_of_that_time(
    tmp_path, addresses, procs
):
    grid = Grid(tmp_path, addresses)
    _, folder = bundles.home_with("person-flattens", tmp_path)
    grid.home.sessions.mkdir(exist_ok=True)
    folder.rename(grid.home.sessions / folder.name)
    gateway, process = alone(grid, procs)
    with screen(gateway, f"/sessions#{folder.name}") as seen:
        _session(seen, gateway, grid.home.sessions / folder.name)
        process.kill()
        seen.until("link", lambda text: text == "gateway lost")
        assert "what is shown is" in seen.text("banner")
        seen.page.keyboard.press("Home")  # what was read can be played on
        assert seen.data("t") == "0"


def _session(seen: Screen, gateway: Gateway, folder: Any) -> None:
    root, page = f"sessions/{folder.name}", seen.page
    until(lambda: seen.data("t"), "the session on screen")
    whole = gateway.get(root)
    decisions = gateway.get(f"{root}/decisions", limit=2_000)["items"]
    assert whole["counts"]["decisions"] == {"recorded": len(decisions), "told": len(decisions)}

    # the API's times are the recording's own: what a decision knew stands in it
    (run,) = read(Session.open(folder))
    for told in decisions[:: len(decisions) // 8]:
        account = run.decisions[told["row"]["decision"]["seq"]].account
        now = gateway.get(f"{root}/at", t_ns=told["t_ns"])
        assert now["account"]["equity"] == account.equity
        assert now["position"]["qty"] == account.position_qty
    commissions = [fill.commission for fill in run.fills]
    last = gateway.get(f"{root}/at", t_ns=whole["t_ns"])
    assert (last["fills"], last["fees"]) == (len(commissions), pytest.approx(sum(commissions)))
    kinds = [c["row"]["kind"] for c in gateway.get(f"{root}/control")["items"]]
    told_by_run = [e for _, e in run.events if isinstance(e, wire.Halted | wire.Flattened)]
    assert len([k for k in kinds if k != "resumed"]) == len(told_by_run) > 0

    # forth by decisions, back, to both ends, by the slider: each time as the API has it
    _equal(seen, gateway, root)
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowRight", "ArrowLeft", "Shift+ArrowRight"):
        before = seen.data("t")
        page.keyboard.press(key)
        until(lambda before=before: seen.data("t") != before, f"{key} to move on")
        at = int(seen.data("t") or 0)
        assert at in {told["t_ns"] for told in decisions}
        _equal(seen, gateway, root)
    page.keyboard.press("Home")
    assert (seen.data("t"), seen.text("equity"), seen.text("fill-count")) == ("0", NONE, "0")
    between = (decisions[0]["t_ns"] + decisions[-1]["t_ns"]) // 2
    page.locator("#slider").fill(str(between))
    assert seen.data("t") == str(between)
    _equal(seen, gateway, root)

    # played: at 1x it goes on, paused it stands still, at the greatest speed it comes to the end
    page.locator("#main").focus()
    page.keyboard.press(" ")
    begun = int(seen.data("t") or 0)
    until(lambda: int(seen.data("t") or 0) > begun + 100_000_000, "the session to play")
    page.keyboard.press(" ")
    assert page.locator("#play").get_attribute("aria-label") == "Play"
    stood = seen.data("t")
    _equal(seen, gateway, root)
    assert seen.data("t") == stood
    page.keyboard.press("Home")
    page.keyboard.press("4")
    page.keyboard.press(" ")
    until(lambda: seen.data("t") == str(whole["t_ns"]), "the end")
    _equal(seen, gateway, root)
    assert seen.text("decisions-sum") == f"{len(decisions)} of {len(decisions)}"
    check_phone_and_colours(seen)


def _equal(seen: Screen, gateway: Gateway, root: str) -> None:
    """Compare figures and tables on screen with the API at the same time."""
    t_ns = int(seen.data("t") or 0)
    now = gateway.get(f"{root}/at", t_ns=t_ns)
    account, position, decision = now["account"], now["position"], now["decision"]
    assert seen.text("state") == ("HALTED" if now["strategy"]["halted"] else "TRADING")
    assert seen.text("price") == shown(now["price"], 5)
    assert seen.text("equity") == f"{shown(account['equity'], 2)} USD"
    assert seen.text("position") == f"{shown(position['qty'], sign=True)} EUR"
    assert seen.text("unrealized") == f"{shown(position['unrealized'], 2, sign=True)} USD"
    assert seen.text("drawdown") == f"{shown(100 * account['drawdown'], 3)} %"
    assert seen.text("fill-count") == shown(now["fills"])
    assert now["fills"] == 0 or seen.text("fees") == f"fees {shown(now['fees'], 2)} USD"
    until_ns = {"until_ns": t_ns + 1, "limit": 2_000}
    fills = gateway.get(f"{root}/fills", **until_ns)["items"][::-1][:100]
    rows = seen.rows("fills") if fills else []
    assert [row[1:4] for row in rows] == [
        [f["row"]["side"], shown(f["row"]["qty"]), shown(f["row"]["px"], 5)] for f in fills
    ]
    orders = {
        o["row"]["client_order_id"]: o["row"]["status"]
        for o in gateway.get(f"{root}/orders", **until_ns)["items"]
    }
    rows = seen.rows("orders") if orders else []
    assert {row[5]: row[4] for row in rows} == orders
    newest = seen.rows("decisions")[0]
    how = decision["agent_id"] if decision["how"] == "action" else "fallback"
    assert newest[0] == shown(decision["seq"])
    assert newest[2] == (how if decision["how"] else "open")
