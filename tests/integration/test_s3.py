"""A lake in an S3-compatible service: each event once, whatever is cut off."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyarrow import fs

from grid import wire
from grid.bridges import iceberg, reading
from grid.bridges.config import S3Config
from grid.bridges.lake import Lake
from grid.bridges.lakehouse import LakeSink
from grid.bridges.places import Bucket
from grid.errors import BridgeError, UnreachableError
from grid.mender import Arrived
from tests.support.procs import until
from tests.support.s3_server import KEYS, S3Server, needs_s3

TOPIC = "md.X.SIM.quote"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(prefix="argonaut-") as folder:
        made = S3Server(Path(folder) / "s3")
        yield made
        made.close()


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Config:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    config = S3Config(endpoint=server.endpoint, timeout_s=5.0)
    files = fs.S3FileSystem(
        scheme="http",
        endpoint_override=server.endpoint.removeprefix("http://"),
        region=config.region,
        allow_bucket_creation=True,
    )
    files.create_dir("lake")
    return config


def quote(seq: int) -> Arrived:
    event = wire.Quote("X.SIM", seq, 1.0, 1.1, 5.0, 6.0)
    frame = wire.pack(TOPIC, "feed", 1, seq, seq, event)
    return Arrived(0, *wire.unpack(frame), frame)


def seqs(where: str, s3: S3Config) -> list[int]:
    """What a reader by pattern sees."""
    options = {
        "aws_endpoint_url": s3.endpoint, "aws_region": s3.region, "aws_allow_http": "true",
        "aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"],
    }  # fmt: skip
    frame = pl.scan_parquet(f"{where}/quotes/*/*.parquet", storage_options=options).collect()
    return sorted(frame["topic_seq"])


class Dying(Bucket):
    """A bucket whose writer dies before its nth change."""

    changes = ("write", "write_manifest", "show", "delete")

    def __init__(self, where: str, s3: S3Config, at: int) -> None:
        super().__init__(where, s3)
        count = itertools.count()

        def fatal(change: Any) -> Any:
            def do(*args: Any) -> Any:
                if next(count) == at:
                    raise KeyboardInterrupt
                return change(*args)

            return do

        for name in self.changes:
            setattr(self, name, fatal(getattr(self, name)))


def dies(place: Bucket) -> bool:
    """Have a writer die, or come to its end, which is told."""
    try:
        with Lake(place, compact_files=2) as lake:
            sink = LakeSink(lake)
            for seq in (1, 2):
                sink.put(quote(seq))
                sink.flush()
            lake.tidy()
            return True
    except KeyboardInterrupt:
        return False


def goes_on(place: Bucket) -> None:
    """Have another writer end what it has left."""
    with Lake(place) as lake:
        kept = lake.position[0].seq if lake.position else 0
        sink = LakeSink(lake)
        for seq in range(kept + 1, 4):
            sink.put(quote(seq))
        sink.close()


@needs_s3
@pytest.mark.parametrize("at", [1, 5, 8])  # a manifest, a name, a deletion
def test_lake_in_a_bucket_has_each_row_once_after_its_writer_has_died(
    s3: S3Config, at: int
) -> None:
    where = f"s3://lake/dying-{at}"
    assert not dies(Dying(where, s3, at))
    goes_on(Bucket(where, s3))
    assert seqs(where, s3) == [1, 2, 3]
    assert reading.read(where, "quotes", ("topic_seq",), s3).num_rows == 3


@needs_s3
def test_service_that_dies_is_waited_for_and_has_each_row_once(
    server: S3Server, s3: S3Config
) -> None:
    where = "s3://lake/outage"
    with Lake(Bucket(where, s3)) as lake:
        sink = LakeSink(lake, flush_rows=2, flush_s=0.0)
        sink.put(quote(1))
        sink.put(quote(2))
        server.kill()
        for seq in (3, 4):
            sink.put(quote(seq))
        assert sink.full
        assert sink.failures == 1
        with pytest.raises(UnreachableError, match="outage"):
            Bucket(where, s3)
        server.start()
        until(lambda: sink.turn(1e12) or not sink.full, "the service")
        sink.put(quote(5))
        sink.close()
    assert seqs(where, s3) == [1, 2, 3, 4, 5]


@needs_s3
def test_second_writer_is_found_before_it_does_harm(s3: S3Config) -> None:
    where = "s3://lake/two"
    lakes = [Lake(Bucket(where, s3)) for _ in range(2)]
    sinks = [LakeSink(lake) for lake in lakes]
    sinks[0].put(quote(1))
    sinks[0].flush()
    sinks[1].put(quote(1))
    with pytest.raises(BridgeError, match="another process writes this lake"):
        sinks[1].flush()
    assert seqs(where, s3) == [1]


@needs_s3
def test_bucket_that_is_not_there_is_named(s3: S3Config) -> None:
    with pytest.raises(BridgeError, match="expected a bucket nowhere, found none"):
        Bucket("s3://nowhere/lake", s3)


@needs_s3
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tables_of_iceberg_lie_in_a_bucket(s3: S3Config, tmp_path: Path) -> None:
    properties = {**iceberg.local(tmp_path), "warehouse": "s3://lake/iceberg"}
    catalog = iceberg.catalog({**properties, "s3.endpoint": s3.endpoint, "s3.region": s3.region})
    sink = LakeSink(iceberg.IcebergStore(catalog, "test"))
    for seq in (1, 2):
        sink.put(quote(seq))
        sink.flush()
    assert iceberg.IcebergStore(catalog, "test").compact("quotes") == (2, 1)
    rows = catalog.load_table("test.quotes").scan().to_arrow()
    assert sorted(rows["topic_seq"].to_pylist()) == [1, 2]
    catalog.close()


def test_lake_of_objects_has_each_row_once_wherever_its_writer_dies(tmp_path: Path) -> None:
    class OnDisk(Dying):
        """The same on a disk, which is fast enough to die before each of its changes."""

        def _files(self, s3: S3Config) -> Any:
            return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())

        def write(self, path: str, table: Any) -> int:
            (tmp_path / self._root / path).parent.mkdir(parents=True, exist_ok=True)
            return super().write(path, table)

    for at in range(20):
        where = f"s3://lake/{at}"
        (tmp_path / "lake" / str(at)).mkdir(parents=True)
        done = dies(OnDisk(where, S3Config(), at))
        goes_on(OnDisk(where, S3Config(), -1))
        frame = pl.read_parquet(tmp_path / "lake" / str(at) / "quotes/*/*.parquet")
        assert sorted(frame["topic_seq"]) == [1, 2, 3]
        if done:
            assert at == 11  # two commits of three changes, a compaction of five
            return
    pytest.fail("it never came to its end")
