"""What a person sees of the gateway's pages: headless Chromium before a real gateway."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.gateways import Gateway
from tests.support.procs import until

PHONE = {"width": 360, "height": 740}


def found() -> str:
    """The browser; the test is skipped where it is not there, save in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        assert "CI" not in os.environ, "chromium is not installed"
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    return path


class Screen:
    """A page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def until(self, name: str, fact: Callable[[str], bool], timeout_s: float = 60.0) -> str:
        return until(
            lambda: text if fact(text := self.text(name)) else None, f"{name} on screen", timeout_s
        )

    def style(self, name: str) -> str:
        return str(self.page.evaluate(f"getComputedStyle(document.body).{name}"))

    def data(self, name: str) -> str | None:
        """What the page says of itself in an attribute of its body."""
        found: str | None = self.page.locator("body").get_attribute(f"data-{name}")
        return found

    def rows(self, name: str) -> list[list[str]]:
        """The cells of a table's body."""
        read = "rows => rows.map(r => [...r.cells].map(c => c.textContent))"
        cells: list[list[str]] = self.page.locator(f"#{name} tr").evaluate_all(read)
        return cells


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless one."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=found(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield made
        made.close()


@contextlib.contextmanager
def screen(gateway: Gateway, path: str, scheme: Any = "dark") -> Iterator[Screen]:
    """A page of a gateway, with its key; no fault of a script, nothing from elsewhere."""
    with contextlib.closing(gateway.client), browser() as running:
        page = running.new_page(color_scheme=scheme)
        wrong: list[str] = []
        asked: list[str] = []
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.add_init_script(f"sessionStorage.setItem('argonaut.key', '{gateway.key}')")
        page.goto(f"{gateway.url}{path}")
        yield Screen(page)
        assert wrong == []
        assert all(url.startswith((gateway.url, "data:")) for url in asked)  # it works offline
        assert not any(gateway.key in url for url in asked)


def shown(number: float, digits: int = 0, *, sign: bool = False) -> str:
    """Return a number as the pages write it."""
    text = f"{abs(number) or 0.0:,.{digits}f}"
    return ("\u2212" if number < 0 else "+" if sign and number > 0 else "") + text
