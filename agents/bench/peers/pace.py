"""What the process of a peer does: steps its env when told to, and says how fast it went.

Standard library and NumPy only, for it runs in the environments of others. The bars are a CSV file
whose path is the first argument; a line of JSON on stdin, `["hold", 0.5]`, asks for half a second
of stepping, and a line on stdout answers with the steps per second. Resets are not counted.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

type Bars = dict[str, NDArray[Any]]

COLUMNS: Final = ("ts_event", "open", "high", "low", "close", "volume")
TURN: Final = 10  # steps between two trades
_INTEGERS: Final = ("ts_event",)


class Steps(NamedTuple):
    """An env as this process drives it.

    Attributes:
        version: of the package.
        reset: begins an episode.
        step: takes an action; whether the episode is over.
        hold: the actions of a round without trades.
        act10: those of a round with a trade every `TURN` steps.
    """

    version: str
    reset: Callable[[], object]
    step: Callable[[Any], bool]
    hold: Sequence[Any]
    act10: Sequence[Any]


def targets(*levels: Any) -> list[Any]:
    """Return actions that name a target: each level for `TURN` steps."""
    return [level for level in levels for _ in range(TURN)]


def orders(rest: Any, *sides: Any) -> list[Any]:
    """Return actions that name a trade: each side once, then nothing until `TURN` steps are by."""
    return [action for side in sides for action in (side, *repeat(rest, TURN - 1))]


def write_bars(path: Path, columns: Bars) -> None:
    """Write bars as CSV, to the last digit."""
    lists = [np.asarray(columns[name]).tolist() for name in COLUMNS]
    rows = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in zip(*lists, strict=True))]
    path.write_text("\n".join(rows) + "\n")


def read_bars(path: Path) -> Bars:
    """Return what `write_bars` wrote."""
    head, *rows = path.read_text().splitlines()
    cells = zip(*(row.split(",") for row in rows), strict=True)
    return {
        name: np.array(column, dtype=np.int64 if name in _INTEGERS else np.float64)
        for name, column in zip(head.split(","), cells, strict=True)
    }


def rate(env: Steps, actions: Sequence[Any], seconds: float) -> float:
    """Return steps per second over about so many seconds of stepping."""
    step, steps, spent_s, over = env.step, 0, 0.0, True
    while spent_s < seconds:
        if over:
            env.reset()
            over = False
        began_s = time.perf_counter()
        for action in actions:
            steps += 1
            if step(action):
                over = True
                break
        spent_s += time.perf_counter() - began_s
    return steps / spent_s


def serve(make: Callable[[Bars], Steps]) -> None:
    """Answer until stdin ends; `make` imports the package, what it prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        env = make(read_bars(Path(sys.argv[1])))
        rounds = {"hold": env.hold, "act10": env.act10}
        print(json.dumps(env.version), file=answers, flush=True)
        for line in sys.stdin:
            which, seconds = json.loads(line)
            print(json.dumps(rate(env, rounds[which], seconds)), file=answers, flush=True)
