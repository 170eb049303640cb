"""Waiting for facts, with a limit."""

import time
from collections.abc import Callable


def until(fact: Callable[[], object], timeout_s: float, what: str) -> None:
    """Return when `fact()` is true; fail after `timeout_s`, naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.005)
