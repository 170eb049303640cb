"""Commands on market data."""

import argparse
from pathlib import Path

from agents.commands.line import NAME, REPLACE, SEED, Progress, command, show
from grid.cli import Args, flag, option, pairs, whole


def _run(text: str) -> tuple[str, int]:
    source, colon, epoch = text.rpartition(":")
    if not colon or not epoch.isdecimal():
        raise argparse.ArgumentTypeError(f"expected SOURCE:EPOCH, found {text!r}")
    return source, int(epoch)


KINDS = ("bars", "quotes", "trades", "depth", "deltas")


@command(
    "data import",
    "a CSV, Parquet or DBN file becomes a dataset, trades in DBN one beside it",
    "eurusd.csv --instrument configs/instruments/eurusd.toml --bar 1-HOUR-ASK --timestamp open",
    option("file", "CSV or Parquet with a header, maybe compressed, or DBN", type=Path),
    option("--instrument", "TOML file, what is traded", type=Path, required=True),
    option("--name", "of the dataset (default: the file's name)"),
    option("--kind", "what a row is", choices=KINDS, default="bars"),
    option("--bar", "step and price, as in 1-HOUR-ASK (default: from the rows, and told)"),
    option("--book", "deltas: by price or by order (default: found out)", choices=("L2", "L3")),
    option("--every", "deltas: a row each 50 events or each 100ms, 1s, 5m (default: 100ms)"),
    option("--levels", "of a book's row, a side (default: all, up to 10)", type=whole),
    option("--timestamp", "the end of a bar it marks", choices=("open", "close"), default="close"),
    option("--time-format", "as for strptime (default: ISO or epoch, found out)"),
    option("--columns", "columns not found by themselves", type=pairs, metavar="FIELD=NAME,..."),
    flag("--repair", "drop, sort and round bad rows and count them, instead of refusing"),
    REPLACE,
)
def _data_import(args: Args) -> None:
    from envs.data.importer import import_all
    from grid import instrument

    with Progress("rows") as progress:
        manifest, *beside = import_all(
            args.file,
            instrument.load(args.instrument),
            name=args.file.name.split(".")[0] if args.name is None else args.name,
            home=args.home,
            kind=args.kind,
            bar=args.bar,
            timestamp=args.timestamp,
            time_format=args.time_format,
            columns=args.columns,
            book=args.book,
            every=args.every,
            levels=args.levels,
            repair=args.repair,
            replace=args.replace,
            progress=progress,
        )
    if manifest.kind == "bars" and args.bar is None:
        print(f"bars of {manifest.bar}, inferred from the rows; --bar says otherwise\n")
    show(args.home, manifest.name)
    for trades in beside:
        print()
        show(args.home, trades.name)


@command(
    "data from-lake",
    "the market data of a lake becomes a dataset, with the engine's own catalog",
    "lakes/eurusd --name eurusd-live",
    option("lake", "folder, s3://BUCKET/PREFIX, or an Iceberg catalog as in type=rest,uri=..."),
    NAME,
    option("--namespace", "of Iceberg tables; with it the lake is one of Iceberg"),
    option("--strategy", "whose rows (default: the newest)", default=""),
    option(
        "--run", "of one node alone, as in node:3", type=_run, dest="only", metavar="SOURCE:EPOCH"
    ),
    option("--endpoint", "of an S3-compatible service, as in http://127.0.0.1:9000", default=""),
    REPLACE,
)
def _data_from_lake(args: Args) -> None:
    from functools import partial

    from envs.data.from_lake import import_lake
    from grid.bridges import iceberg, reading
    from grid.bridges.config import S3Config
    from grid.errors import DataError

    if args.namespace:
        if "=" not in args.lake and not (Path(args.lake) / "catalog.db").is_file():
            raise DataError(f"{args.lake}: expected a catalog.db of Iceberg, found none")
        where = pairs(args.lake) if "=" in args.lake else iceberg.local(Path(args.lake))
        read = partial(reading.read_iceberg, iceberg.catalog(where), args.namespace)
    else:
        s3 = S3Config(endpoint=args.endpoint)
        read = partial(reading.read, args.lake, s3=s3)
    how = {"strategy_id": args.strategy, "run": args.only, "replace": args.replace}
    import_lake(read, args.lake, name=args.name, home=args.home, **how)
    show(args.home, args.name)


@command("data list", "the datasets there are", "")
def _data_list(args: Args) -> None:
    from envs.data.show import table

    print(table(args.home))


@command(
    "data info",
    "one dataset: range, quality, fingerprint",
    "eurusd-1h-2017 --verify",
    option("name", "of the dataset"),
    flag("--verify", "compute the fingerprint again"),
)
def _data_info(args: Args) -> None:
    show(args.home, args.name, verify=args.verify)


@command("data demo", "import real bars: hourly EUR/USD, which the demo trades, daily GOOGL", "")
def _data_demo(args: Args) -> None:
    from envs.data.demo import import_demo, import_second

    for imported in (import_demo, import_second):
        with Progress("rows") as progress:
            manifest = imported(args.home, progress)
        show(args.home, manifest.name)


@command(
    "data synthetic",
    "a market with a known best policy, a random walk, or an order book made by chance",
    "signal --name planted --rows 120000",
    option("kind", "what it holds", choices=("signal", "walk", "depth", "L2", "L3")),
    NAME,
    option("--rows", "bars, or events of a book", type=whole, default=120_000),
    option("--every", "books: a row each 50 events or each 100ms, 1s, 5m", default="100ms"),
    SEED,
    REPLACE,
)
def _data_synthetic(args: Args) -> None:
    size = {"n": args.rows, "seed": args.seed, "replace": args.replace}
    if args.kind in ("signal", "walk"):
        from envs.synthetic import write_synthetic

        write_synthetic(args.kind, args.name, args.home, **size)
    else:
        from envs.synthetic_book import write_book

        write_book(args.kind, args.name, args.home, every=args.every, **size)
    show(args.home, args.name)


@command("data features", "what an agent can see of the market", "")
def _data_features(args: Args) -> None:
    from envs.features.listing import render

    print(render())
