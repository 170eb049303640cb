"""Commands on training grids."""

import sys
from pathlib import Path
from typing import Any, Final

from agents.commands.line import COMMAND, SET, command
from grid.cli import Args, flag, number, option

_CONFIG: Final = option("config", "TOML file of the grid", type=Path)
_GRID: Final = option("grid", "name of a grid, or its TOML file")
_ON: Final = option(
    "--on", "where trials run: local, ray, or ray://HOST:PORT", default="local", metavar="WHERE"
)
_DETACH: Final = flag("--detach", "run on without this terminal; see grid attach")


@command(
    "grid plan",
    "what a grid would run, on which spans, at what cost; starts nothing",
    "configs/grids/eurusd.toml",
    _CONFIG,
    SET,
    flag("--quick", "measure no cost by a short training"),
)
def _plan(args: Args) -> None:
    from agents.trials import config
    from agents.trials.preview import preview

    grid = config.load(args.config, args.set)
    print(preview(grid, args.home, quick=args.quick))


@command(
    "grid run",
    "train a whole grid, until it is done or stopped",
    "configs/grids/eurusd.toml --detach",
    _CONFIG,
    SET,
    flag("--replace", "remove a grid of that name first"),
    _ON,
    _DETACH,
)
def _run(args: Args) -> int:
    return _launch(args, resume=False)


@command(
    "grid resume",
    "go on with a grid after a stop or a crash; nothing is repeated",
    "configs/grids/eurusd.toml",
    _CONFIG,
    SET,
    _ON,
    _DETACH,
)
def _resume(args: Args) -> int:
    return _launch(args, resume=True)


@command("grid status", "a grid's state at the moment", "eurusd", _GRID)
def _status(args: Args) -> int:
    from agents.trials.table import live
    from agents.trials.watching import look

    seen = look(_folder(args))
    print(live(seen.schedule, seen.beats))
    if not seen.launcher and not seen.schedule.stopped:
        print("no process runs it: go on with `grid resume`")
    return 0


@command("grid attach", "follow a running grid; Ctrl-C lets it run on", "eurusd", _GRID)
def _attach(args: Args) -> None:
    from agents.trials.screen import Screen
    from agents.trials.watching import follow

    with Screen(sys.stdout) as screen:
        follow(_folder(args), screen.tell)


@command(
    "grid stop",
    "stop a running grid within seconds; it can be resumed",
    "eurusd",
    _GRID,
    option("--seconds", "to wait for its end", type=number, default=30.0),
)
def _stop(args: Args) -> int:
    folder = _folder(args)
    stopped = folder.stop(args.seconds)
    print(f"grid {folder.name}: " + ("stopped" if stopped else "no process runs it"))
    return 0 if stopped else 1


@command(
    "grid report",
    "what a grid found and how sure that is: a page that opens offline, and JSON",
    "eurusd --compare eurusd-wide",
    _GRID,
    option("--compare", "name of a grid to show beside it", default="", metavar="GRID"),
    option("--out", "folder for the files (default: the grid's reports)", type=Path),
    flag("--quick", "play no baselines and no other costs; the verdict is then without them"),
)
def _report(args: Args) -> None:
    from tqdm import tqdm

    from agents.gridreport.report import JSON, write
    from agents.trials.results import load
    from agents.trials.table import report

    folder = _folder(args)
    with tqdm(unit=" episodes", desc="report", disable=args.quick) as bar:

        def tell(said: str) -> None:
            bar.set_postfix_str(said)
            bar.update()

        page, found = write(
            args.home, folder.name, args.out, other=args.compare, play=not args.quick, tell=tell
        )
    print(report(load(folder.path)))
    verdict, unjudged = found.findings.verdict, found.findings.unjudged
    print(f"\n{verdict.line if verdict else f'No verdict: {unjudged}.'}")
    print(f"report: {page}, {page.with_name(JSON)}")


@command(
    "grid finalize",
    "judge one configuration on the holdout; once, for good",
    "eurusd --configuration 1a2b3c4d",
    _GRID,
    option("--configuration", "its key (default: the best on the validation spans)", default=""),
)
def _finalize(args: Args) -> None:
    import time

    from agents.trials.holdout import finalize
    from agents.trials.table import holdout

    folder = _folder(args)
    print(holdout(finalize(args.home, folder.name, args.configuration, time.time_ns())))


def _folder(args: Args) -> Any:
    from agents.trials.folder import Folder

    name = args.grid
    if name.endswith(".toml"):
        from agents.trials import config

        name = config.load(Path(name)).name
    folder = Folder(args.home, Path(name).name)
    folder.grid()
    return folder


def _launch(args: Args, *, resume: bool) -> int:
    from agents.trials import config

    grid = config.load(args.config, args.set)

    from agents.trials.clusters import builder

    build = builder(args.on)  # what is not there is said before anything starts
    if args.detach:
        from agents.trials.detached import detach

        anew = ["--replace"] if not resume and args.replace else []
        sets = [word for said in args.set for word in ("--set", said)]
        verb = "resume" if resume else "run"
        command = [*COMMAND, "grid", verb, str(args.config), *sets, *anew, "--on", args.on]
        pid = detach([*command, "--home", str(args.home.root)], args.home, grid.name)
        print(f"grid {grid.name} runs as process {pid}: grid attach {grid.name} follows it")
        return 0

    from agents.trials import launcher
    from agents.trials.screen import Screen
    from agents.trials.table import summary

    replace = False if resume else args.replace
    with Screen(sys.stdout) as screen:
        schedule = launcher.run(grid, args.home, build, screen.tell, resume=resume, replace=replace)
    print(summary(schedule, {}))
    print(f"results: {args.home.root / 'grids' / grid.name}; see grid report {grid.name}")
    return 130 if schedule.stopped == launcher.INTERRUPTED else 0
