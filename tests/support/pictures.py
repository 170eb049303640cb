"""The pictures of the dashboard in the docs: `python -m tests.support.pictures FOLDER`.

A grid trades a synthetic market at a paper venue and is halted for a moment; meanwhile a training
grid runs, one of whose trials is killed. Takes some three minutes, and Chromium.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from playwright.sync_api import Browser, Page

from grid.bus import Addresses
from tests.support import grids_of_trials as trials
from tests.support import markets
from tests.support.gateways import Gateway
from tests.support.grids import Grid
from tests.support.procs import Procs, until
from tests.support.screens import browser

AGENTS = "".join(
    f'[[agents]]\nid = "{name}"\nrole = "shadow"\ncheckpoint = "baseline:{policy}"\n'
    for name, policy in (("beta", "random"), ("gamma", "hold"))
)
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 800}
BARS = 130  # decisions before the first picture


def training_tree() -> dict[str, Any]:
    """Twenty-four short trainings in two folds."""
    base = trials.base_tree(total_steps=3_072, checkpoint_every_steps=512)
    base["env"] |= {"steps": 100}
    base["algo"] |= {"net": [32, 32], "n_steps": 128}
    return trials.grid_tree(
        "eurusd",
        base=base,
        axes={"algo.learning_rate": [3e-4, 1e-3, 3e-3], "env.window": [4, 16]},
        seeds=2,
        folds={"kind": "rolling", "train": "16h", "validation": "4h", "test": "6h", "count": 2},
        workers={"processes": 2, "retries": 1},
    )


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[Procs]:
    """Those of the grid, stopped at the end."""
    procs = Procs(folder)
    try:
        yield procs
    finally:
        for wrong in procs.close():
            sys.stderr.write(f"{wrong}\n")


class Camera:
    """Takes pictures of a gateway's pages."""

    def __init__(self, running: Browser, gateway: Gateway, out: Path) -> None:
        self._running = running
        self._gateway = gateway
        self._out = out

    def take(
        self,
        path: str,
        name: str,
        scheme: Any = "dark",
        size: Any = None,
        before: Callable[[Page], object] = lambda page: None,
    ) -> None:
        """Open a page, do something there, and keep what it looks like."""
        on_phone = size is PHONE
        page = self._running.new_page(
            color_scheme=scheme, viewport=size or WIDE, device_scale_factor=2 if on_phone else 1
        )
        page.add_init_script(f"sessionStorage.setItem('argonaut.key', '{self._gateway.key}')")
        page.goto(f"{self._gateway.url}{path}")
        page.locator('#link:is([data-state="live"])').wait_for()
        page.wait_for_timeout(1_500)
        before(page)
        page.mouse.move(2, 2)
        page.wait_for_timeout(400)
        file = self._out / f"{name}.png"
        page.screenshot(path=file)
        with Image.open(file) as picture:
            picture.convert("RGB").quantize(256).save(file, optimize=True)
        page.close()


def make(out: Path, folder: Path) -> None:
    """Make all pictures in `out`."""
    fields = Addresses.__struct_fields__
    addresses = Addresses(**{f: f"ipc://{folder}/{f}" for f in fields})
    grid = Grid(
        folder, addresses, markets.bar_columns(3_000), champion="baseline:momentum", agents=AGENTS,
        feed={"speed": 8}, node={"venue": '"paper"', "stop_at_end": "false"},
    )  # fmt: skip
    said = grid.config.read_text().replace('name = "test"', 'name = "eurusd"')
    grid.config.write_text(said.replace('"S-1"', '"EURUSD-1"'))
    gateway = Gateway(grid, rate_per_s=1_000, burst=1_000)
    with processes(folder) as procs, browser() as running:
        grid.up(procs)
        gateway.ready()
        camera = Camera(running, gateway, out)
        launcher = trials.launch(grid.home, training_tree(), folder / "trials.log")
        try:
            _while_it_runs(camera, gateway, grid, launcher)
        except BaseException:
            sys.stderr.write((folder / "trials.log").read_text())
            raise
        finally:
            launcher.kill()
            launcher.wait(20)
        session = gateway.get("sessions")["items"][0]["id"]
    with processes(folder / "later") as procs, browser() as running:
        grid.child(procs, "gateway").ready()
        camera = Camera(running, gateway, out)
        _afterwards(camera, session)


def _while_it_runs(camera: Camera, gateway: Gateway, grid: Grid, launcher: Any) -> None:
    def decided(n: int) -> None:
        def so() -> bool:
            return bool(gateway.get("strategies")[0]["decision_seq"] >= n)

        until(so, f"{n} decisions", 180.0)

    def phases() -> Any:
        found = gateway.get("training")["items"]
        return found[0]["phases"] if found else {}

    until(lambda: phases().get("running") == 2, "trials that run", 60.0)
    until(lambda: phases().get("done", 0) > 2, "done trials", 120.0)
    until(lambda: _killed(gateway, launcher.pid), "a trial to kill", 60.0)
    decided(BARS // 2)
    gateway.client.post("strategies/EURUSD-1/halt", json={"reason": "central bank speaks"})
    time.sleep(4.0)
    gateway.client.post("strategies/EURUSD-1/resume", json={"reason": "it is over"})
    decided(BARS)
    camera.take("/", "live-dark")
    camera.take("/", "live-light", "light")
    camera.take("/", "live-phone", size=PHONE)

    def lit(page: Page) -> None:
        page.locator("#trials tr").nth(3).wait_for()
        page.locator("#curves").focus()
        for _ in range(4):
            page.keyboard.press("ArrowDown")
        page.wait_for_function("document.getElementById('eta').textContent !== '\u2013'")

    camera.take("/training", "training-dark", before=lit)
    launcher.wait(400)

    def judged(page: Page) -> None:
        until(lambda: "After" in page.locator("#verdict").inner_text(), "the verdict", 60.0)
        page.locator("#order").select_option("score")

    camera.take("/training", "training-light", "light", before=judged)
    camera.take("/training", "training-phone", size=PHONE, before=judged)


def _killed(gateway: Gateway, launcher: int) -> bool:
    """Kill a trial that has come some way."""
    nursery = next(c.pid for c in psutil.Process(launcher).children() if c.children())
    pids = trials.pids_of_trials(nursery)
    for trial in gateway.get("training/eurusd/trials", phase="running")["items"]:
        if trial["steps"] > 1_024 and trial["id"] in pids:
            os.kill(pids[trial["id"]], signal.SIGKILL)
            return True
    return False


def _afterwards(camera: Camera, session: str) -> None:
    def at(share: float) -> Callable[[Page], object]:
        def move(page: Page) -> None:
            page.locator("body[data-t]").wait_for()
            end = float(page.locator("#slider").get_attribute("max") or 0.0)
            page.locator("#slider").fill(str(int(end * share)))

        return move

    camera.take(f"/sessions#{session}", "session-dark", before=at(0.8))
    camera.take(f"/sessions#{session}", "session-light", "light", before=at(0.97))
    camera.take(f"/sessions#{session}", "session-phone", size=PHONE, before=at(0.7))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="argonaut-") as name:
        (Path(name) / "later").mkdir()
        make(Path(sys.argv[1]).resolve(), Path(name))
