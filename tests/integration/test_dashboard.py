"""The dashboard in a real browser, before a real grid: what it shows, what its keys do."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import markets
from tests.support.gateways import Gateway
from tests.support.grids import Grid
from tests.support.procs import until
from tests.support.screens import PHONE, Screen, browser, shown

SHADOW = '[[agents]]\nid = "beta"\nrole = "shadow"\ncheckpoint = "baseline:random"\n'


def all_fills(gateway: Gateway) -> list[Any]:
    found, page = [], gateway.get("fills", limit=500)
    while True:
        found += page["items"]
        if page["next"] is None:
            return found
        page = gateway.get("fills", limit=500, cursor=page["next"])


@pytest.mark.timeout(180)
def test_dashboard_shows_what_is_so_and_halts_by_keyboard_alone(tmp_path: Path, addresses, procs):
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(3_000), champion="baseline:momentum",
        agents=SHADOW, feed={"speed": 10}, node={"venue": '"paper"', "stop_at_end": "false"},
    )  # fmt: skip
    gateway = Gateway(grid, rate_per_s=1_000, burst=1_000)
    grid.up(procs)
    gateway.ready()
    gateway.until("fills", lambda found: len(found["items"]) > 3)
    with contextlib.closing(gateway.client), browser() as running:
        page = running.new_page(color_scheme="dark")
        wrong: list[str] = []
        asked: list[str] = []
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.on("websocket", lambda s: asked.append(s.url.replace("ws:", "http:")))
        _all(Screen(page), gateway, grid)
        assert wrong == []
        assert all(url.startswith((gateway.url, "data:")) for url in asked)  # it works offline
        assert not any(gateway.key in url for url in asked)


def _all(screen: Screen, gateway: Gateway, grid: Grid) -> None:
    page = screen.page
    page.goto(gateway.url)

    # a key that is none is refused; the right one lets in, and stays in this tab
    page.locator("#keys[open]").wait_for()
    page.keyboard.type("not-a-key")
    page.keyboard.press("Enter")
    screen.until("keys-wrong", lambda text: "unknown or revoked" in text)
    page.locator("#keys-text").fill(gateway.key)
    page.keyboard.press("Enter")
    screen.until("link", lambda text: text == "live")
    screen.until("state", lambda text: text == "TRADING")
    assert page.evaluate("sessionStorage.getItem('argonaut.key')") == gateway.key
    assert gateway.key not in page.content()
    frames = "Number(document.body.dataset.frames)"
    first = page.evaluate(frames)
    until(lambda: page.evaluate(frames) > first + 5, "frames")

    # halted by keys alone: Esc does nothing, Enter does
    page.keyboard.press("h")
    assert "Halt grid test?" in screen.text("confirm-title")
    page.keyboard.press("Escape")
    assert not page.locator("#confirm").is_visible()
    assert gateway.get("strategies")[0]["halted"] is False
    until(lambda: page.evaluate("!document.activeElement.closest('dialog')"), "the focus")
    page.keyboard.press("h")
    page.locator("#confirm[open]").wait_for()
    page.keyboard.type("lunch")
    page.keyboard.press("Enter")
    screen.until("state", lambda text: text == "HALTED")
    assert gateway.get("strategies")[0]["halt_reason"] == "lunch"
    assert "lunch" in screen.text("state-why")

    # what stands still can be compared
    gateway.until("orders?status=open", lambda found: not found["items"])
    (position,), fills = gateway.get("positions"), all_fills(gateway)
    screen.until("fill-count", lambda text: text == shown(len(fills)))
    screen.until("position", lambda text: text == f"{shown(position['qty'], sign=True)} EUR")

    def marked() -> bool:  # the mark moves on while it is halted
        told = {shown(p["equity"], 2) for p in gateway.get("equity", limit=500)["items"]}
        return screen.text("equity").removesuffix(" USD") in told

    until(marked, "an equity on screen that the API has told")
    agents = {row.split("\t")[0]: row.split("\t")[1] for row in screen.text("agents").splitlines()}
    assert agents == {"alpha": "champion · trades", "beta": "shadow"}
    processes = {row.split("\t")[0] for row in screen.text("processes").splitlines()}
    assert processes == {p["name"] for p in gateway.get("processes")}
    screen.until("log", lambda text: "node" in text)

    # dark, light, phone; every control can be reached
    dark = screen.style("backgroundColor")
    page.emulate_media(color_scheme="light")
    until(lambda: screen.style("backgroundColor") != dark, "the light page")
    page.keyboard.press("t")
    until(lambda: screen.style("backgroundColor") == dark, "the dark page")
    seen = set()
    page.locator("#main").focus()
    for _ in range(25):
        page.keyboard.press("Shift+Tab")
        seen.add(page.evaluate("document.activeElement.id"))
    assert {"resume", "flatten", "theme", "key", "help"} <= seen
    page.keyboard.press("?")
    assert "close a dialog" in screen.text("shortcuts")
    page.keyboard.press("Escape")
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    # the gateway dies: that is said, and all is found again
    os.kill(grid.pid_of("gateway"), signal.SIGKILL)
    screen.until("link", lambda text: text != "live")
    screen.until("banner", lambda text: "not reached" in text)
    assert page.locator("body[data-stale]").count() == 1  # greyed
    gateway.ready()
    screen.until("link", lambda text: text == "live")
    screen.until("fill-count", lambda text: text == shown(len(all_fills(gateway))))
    until(lambda: page.locator("#banner").is_hidden(), "the banner to go")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    screen.until("state", lambda text: text == "TRADING")
