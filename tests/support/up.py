"""A supervisor for tests: `up.py FOLDER PATIENCE NAME:MODE...`, JSON notices on stdout."""

import sys
from pathlib import Path

import msgspec

from grid import config, supervisor
from grid.errors import ArgonautError
from grid.home import Home
from grid.lifecycle import Notice, Patience, ProcessSpec
from grid.topology import GridConfig

CHILD = Path(__file__).with_name("child.py")
TREE = {
    "name": "test",
    "feed": {"dataset": "d"},
    "node": {"strategy_id": "s", "checkpoint": "c"},
    "agents": [{"id": "a", "role": "champion", "checkpoint": "c"}],
}


def main() -> int:
    folder = Path(sys.argv[1])
    specs = []
    for word in sys.argv[3:]:
        name, mode = word.split(":")
        specs.append(
            ProcessSpec(
                name=name,
                argv=(sys.executable, str(CHILD), mode, str(folder), "--name", name),
                essential=not name.startswith("agent"),
                completes=mode == "finish",
                ready_timeout_s=2 if mode == "never" else 20,
                beat_timeout_s=1 if mode == "hang-once" else 20,
            )
        )

    def tell(notice: Notice) -> None:
        print(msgspec.json.encode(notice).decode(), flush=True)

    try:
        return supervisor.run(
            config.convert(TREE, GridConfig, "test"),
            specs,
            Home(folder / "home"),
            tell,
            msgspec.json.decode(sys.argv[2], type=Patience),
        )
    except ArgonautError as e:
        sys.stderr.write(f"{e}\n")
        return e.exit_code


if __name__ == "__main__":
    sys.exit(main())
