"""What the command line is made of: commands with options, and one sentence for what is wrong.

`launch.py` declares the commands. Exit codes: 0 done, 1 failed, 2 the input is at fault.
"""

import argparse
import math
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from grid.errors import ArgonautError
from grid.home import DEFAULT, Home

type Args = argparse.Namespace
type Run = Callable[[Args], int | None]


class Option(NamedTuple):
    """An argument of a command, as `argparse` takes it."""

    name: str
    how: dict[str, Any]


class _Command(NamedTuple):
    words: list[str]
    run: Run
    what: str
    example: str
    options: tuple[Option, ...]


def option(name: str, what: str, **how: Any) -> Option:
    """Return an argument, positional without dashes; a default is told with its help."""
    told = " (default: %(default)s)" if how.get("default") not in (None, "", []) else ""
    return Option(name, {"help": what + told, **how})


def flag(name: str, what: str) -> Option:
    """Return an option without a value."""
    return Option(name, {"help": what, "action": "store_true"})


class CommandLine:
    """The commands of a program, and the parser made of them.

    Args:
        prog: name of the program.
        about: what it is, for its help.
        groups: first word of commands of two -> what they are about.
    """

    def __init__(self, prog: str, about: str, groups: dict[str, str]) -> None:
        self._prog = prog
        self._about = about
        self._groups = groups
        self._commands: list[_Command] = []

    def command(
        self, words: str, what: str, example: str, *options: Option
    ) -> Callable[[Run], Run]:
        """Make the function below a command of one word or two; `example` is what follows it."""

        def register(run: Run) -> Run:
            said = f"example: {self._prog} {words} {example}".rstrip()
            self._commands.append(_Command(words.split(), run, what, said, options))
            return run

        return register

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Run the command that the arguments name and return the exit code; in the main thread."""
        ours = (signal.SIGINT, signal.SIGALRM)
        before = {number: signal.signal(number, _interrupted) for number in ours}
        try:
            args = self._parser().parse_args(argv)
            code = args.run(args) or 0
            print(end="", flush=True)  # what cannot be written is an error here, not after the end
            return int(code)
        except ArgonautError as e:
            return self._fail(str(e), e.exit_code)
        except KeyboardInterrupt:
            return self._fail("interrupted", 130)
        except BrokenPipeError:  # whoever read has left
            return _say_no_more(141)
        except OSError as e:
            self._fail(": ".join(map(str, filter(None, (e.filename, e.strerror or e)))), 1)
            return _say_no_more(1)
        except Exception as e:
            with tempfile.NamedTemporaryFile("w", prefix="argonaut-", delete=False) as file:
                traceback.print_exception(e, file=file)
            what = " ".join(f"{type(e).__name__}: {e}".split())
            return self._fail(f"a fault of the program, {what}; traceback in {file.name}", 1)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _fail(self, why: str, code: int) -> int:
        print(f"{self._prog}: {why}", file=sys.stderr)
        return code

    def _parser(self) -> argparse.ArgumentParser:
        top = _Parser(prog=self._prog, description=self._about, epilog=self._commands[-1].example)
        commands = top.add_subparsers(metavar="COMMAND", required=True)
        parents: dict[str, Any] = {}
        for words, run, what, example, options in self._commands:
            said = {"help": what, "description": f"{what[0].upper()}{what[1:]}."}
            group = words[0] if words[1:] else ""
            if group and group not in parents:
                parser = commands.add_parser(group, help=self._groups[group], epilog=example)
                parents[group] = parser.add_subparsers(metavar="VERB", required=True)
            parser = parents.get(group, commands).add_parser(words[-1], **said, epilog=example)
            parser.set_defaults(run=run)
            for name, how in (*options, _HOME):
                parser.add_argument(name, **how)
        return top


class _Parser(argparse.ArgumentParser):
    """Keeps examples on one line; says what is wrong in one sentence."""

    def __init__(self, **how: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **how)

    def error(self, message: str) -> Any:
        prog, _, words = self.prog.partition(" ")
        where = f"{words}: " if words else ""
        self.exit(2, f"{prog}: {where}{message}; see {self.prog} --help\n")


def _interrupted(signum: int, frame: FrameType | None) -> None:
    # libraries take a Ctrl-C in the middle of their import for a feature that is missing, or go on
    # without a word: it waits until nothing is being imported
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _say_no_more(code: int) -> int:
    # the interpreter flushes once more at its end, and would fail once more
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


# -- types of arguments ----------------------------------------------------------------------------


def whole(text: str) -> int:
    """Read a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, found {text!r}")
    return int(text)


def number(text: str) -> float:
    """Read a finite number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0, found {text!r}")
    return value


def pairs(text: str) -> dict[str, str]:
    """Read `FIELD=NAME,FIELD=NAME`."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        field, _, name = (part.strip() for part in pair.partition("="))
        if not (field and name):
            raise argparse.ArgumentTypeError(f"expected FIELD=NAME, found {pair}")
        found[field] = name
    return found


def _home(text: str) -> Home:
    if not text or (Path(text).exists() and not Path(text).is_dir()):
        raise argparse.ArgumentTypeError(f"expected a folder, found {text!r}")
    return Home(Path(text))


_HOME: Final = option(
    "--home", "of datasets, runs and sessions", type=_home, default=str(DEFAULT), metavar="FOLDER"
)
