"""Commands that train, check and evaluate."""

from pathlib import Path

from agents.commands.line import CHECKPOINT, SEED, SET, command
from grid.cli import Args, flag, option, whole
from grid.errors import ConfigError, ParityError


@command(
    "train",
    "train an agent as a TOML file says",
    "configs/train/eurusd-ppo.toml --set run.total_steps=20480",
    option("config", "TOML file of the run", type=Path),
    SET,
    flag("--resume", "go on with a run of that name, after Ctrl-C or a crash"),
    flag("--replace", "begin a run of that name anew"),
    flag("--quiet", "no progress bar"),
)
def _train(args: Args) -> None:
    from agents import config

    if args.resume and args.replace:
        raise ConfigError("train: expected --resume or --replace, found both")
    run = config.load(args.config, args.set)  # before seconds pass with loading torch

    from agents.checkpoint import describe
    from agents.training import train

    path = train(run, args.home, resume=args.resume, replace=args.replace, progress=not args.quiet)
    print(describe(path))


@command(
    "check lookahead",
    "play a run's env on altered futures; nothing before may change",
    "configs/train/eurusd-ppo.toml",
    option("config", "TOML file of the run", type=Path),
    SET,
    option("--cuts", "rows after which all is altered", type=whole, default=4),
    option("--steps", "decisions before each", type=whole, default=500),
    SEED,
)
def _check_lookahead(args: Args) -> None:
    from agents import config
    from agents.lookahead import check
    from envs.lookahead.report import render, sentence

    run = config.load(args.config, args.set)
    report = check(run, args.home, cuts=args.cuts, steps=args.steps, seed=args.seed)
    print(render(report))
    if report.wrong:
        raise ParityError(f"{args.config}: look-ahead: {sentence(report)}")


@command(
    "evaluate",
    "a checkpoint beside baselines, on held-out time",
    ".argonaut/runs/eurusd-ppo",
    CHECKPOINT,
    option("--rows", "range of the run's config", choices=("test", "train"), default="test"),
    option("--start", "ISO date or time, in place of --rows"),
    option("--end", "ISO date or time, not included"),
    SEED,
    option("--trials", "configurations tried to find this one; the verdict counts", type=whole,
           default=1),
    flag("--sensitivity", "also under other costs and delays"),
    option("--sibling", "a run of another seed, for --sensitivity", type=Path, action="append",
           default=[], metavar="CHECKPOINT"),
    option("--out", "folder for results (default: in HOME/reports)", type=Path),
)  # fmt: skip
def _evaluate(args: Args) -> None:
    from agents.checkpoint import Checkpoint
    from agents.evaluation import evaluate
    from agents.report import write_report
    from agents.scorecard import render

    if (args.start is None) != (args.end is None):
        raise ConfigError("evaluate: expected --start and --end together, found one of them")
    if args.sibling and not args.sensitivity:
        raise ConfigError("evaluate: expected --sensitivity with --sibling, found it alone")
    if args.trials < 1:
        raise ConfigError(f"evaluate: expected --trials of 1 or more, found {args.trials}")
    rows = args.rows if args.start is None else (args.start, args.end)
    path, home = args.checkpoint, args.home
    out = args.out or home.reports / f"evaluation-{Checkpoint.open(path).digest}"
    evaluation = evaluate(
        path, home, rows=rows, seed=args.seed, trials=args.trials, out=out, progress=True,
        harder=args.sensitivity, siblings=args.sibling,
    )  # fmt: skip
    report = write_report(out / "report.html", evaluation)
    print(f"{render(evaluation)}\nreport: {report}")


@command("checkpoint", "verify and describe a checkpoint", ".argonaut/runs/eurusd-ppo", CHECKPOINT)
def _checkpoint(args: Args) -> None:
    from agents.checkpoint import describe

    print(describe(args.checkpoint))
