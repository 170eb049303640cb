"""The command line: `agents.commands` holds its commands, a file a subject."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from agents.commands.line import cli

SUBJECTS: Final = (
    "data", "training", "grid", "models", "serving", "running", "control", "keys", "gateway",
    "bridges", "sessions", "measuring", "faults",
)  # fmt: skip

for subject in SUBJECTS:  # in the order of the help
    import_module(f"agents.commands.{subject}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the input is at fault."""
    return cli.run(argv)


if __name__ == "__main__":
    sys.exit(main())
