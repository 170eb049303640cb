"""A checkpoint on a grid of its own, over rows of its dataset, in paper money."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tqdm import tqdm

from agents import grids
from grid import supervisor, wire
from grid.bus import Addresses, Subscriber, new_context
from grid.config import load
from grid.dataset import Dataset, to_ns
from grid.errors import ProtocolError
from grid.home import Home
from grid.topology import GridConfig, processes

CHAMPION: Final = "alpha"

_GRID: Final = """\
name = "{name}"

[bus]
{bus}

[feed]
dataset = "{dataset}"
start = "{start}"
end = "{end}"
speed = {speed}

[node]
strategy_id = "{name}"
checkpoint = {checkpoint}

[[agents]]
id = "{champion}"
role = "champion"
checkpoint = {checkpoint}
"""
_SHADOW: Final = """
[[agents]]
id = "{id}"
checkpoint = "{checkpoint}"
"""


def rehearse(
    checkpoint: Path,
    home: Home,
    command: Sequence[str],
    *,
    dataset: str,
    span: tuple[str, str],
    name: str,
    speed: float = 0.0,
    shadow: str = "",
) -> None:
    """Let a checkpoint trade a span of a dataset, and wait for the end; the newest session has it.

    Args:
        checkpoint: its folder.
        home: where dataset and session are.
        command: how the processes of the grid are started.
        dataset: its name.
        span: half-open, two ISO times.
        name: of grid and strategy.
        speed: rows a second, 0 for as fast as possible.
        shadow: a rule that watches, as in `momentum`.

    Raises:
        ArgonautError: something does not fit, or a process was given up.
    """
    with TemporaryDirectory(prefix="argonaut-") as folder:
        bus = Addresses.ipc(Path(folder))
        text = _GRID.format(
            name=name,
            bus="\n".join(f'{f} = "{getattr(bus, f)}"' for f in bus.__struct_fields__),
            dataset=dataset,
            start=span[0],
            end=span[1],
            speed=speed,
            checkpoint=json.dumps(str(checkpoint), ensure_ascii=False),  # so does TOML quote
            champion=CHAMPION,
        )
        if shadow:
            text += _SHADOW.format(id=shadow, checkpoint=f"baseline:{shadow}")
        file = Path(folder, "grid.toml")
        file.write_text(text, encoding="utf-8")
        config = load(file, GridConfig)
        grids.check(config, home)
        lo, hi = Dataset.find(home.datasets, dataset).rows_between(*map(to_ns, span))
        specs = processes(config, command, file, home)
        with _watching(bus, hi - lo) as show:
            supervisor.run(config, specs, home, lambda n: show(f"{n.kind} {n.name} {n.detail}"))


@contextmanager
def _watching(bus: Addresses, decisions: int) -> Iterator[Callable[[str], None]]:
    """Show the node's progress from its heartbeats, and let lines be written above the bar."""
    over = threading.Event()
    with tqdm(total=decisions, unit=" decisions", leave=False) as bar:

        def watch() -> None:
            context = new_context()
            subscriber = Subscriber(context, bus.events_out, ["sys.node"])
            while not over.is_set():
                received = subscriber.recv(0.2)
                if received is not None:
                    bar.update(_decisions(received[1]) - bar.n)
            subscriber.close()
            context.destroy(linger=0)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield lambda line: bar.write(f"   {line}".rstrip())
        finally:
            over.set()
            thread.join(timeout=5.0)


def _decisions(envelope: wire.Envelope) -> int:
    try:
        event = wire.event(envelope)
    except ProtocolError:
        return 0
    return int(event.counters.get("decisions", 0)) if isinstance(event, wire.Heartbeat) else 0
