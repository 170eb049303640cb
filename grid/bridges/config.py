"""The sections of a grid that switch its bridges on."""

from typing import Annotated, Final, Literal

import msgspec

type Topics = tuple[Annotated[str, msgspec.Meta(min_length=1)], ...]
type Positive = Annotated[float, msgspec.Meta(gt=0)]
type NonNegative = Annotated[float, msgspec.Meta(ge=0)]
type Text = Annotated[str, msgspec.Meta(min_length=1)]

TOPICS: Final = ("md.", "decision.", "exec.")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class S3Config(_Section, frozen=True):
    """An S3-compatible service other than that of AWS; keys come from the environment, as AWS's do.

    Attributes:
        endpoint: as in `http://127.0.0.1:9000`; empty for AWS.
        region: of the bucket.
        timeout_s: of a request.
    """

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://.+)?$")] = ""
    region: Text = "us-east-1"
    timeout_s: Positive = 10.0


class LakehouseConfig(_Section, frozen=True):
    """Events as tables of Parquet, or of Apache Iceberg.

    Attributes:
        enabled: whether there is one.
        format: of the tables.
        folder: of the lake, or `s3://BUCKET/PREFIX`; empty for one in the home folder, named after
            the grid.
        s3: of a lake there.
        catalog: of Iceberg, as pyiceberg knows its properties; empty for SQLite in the folder.
        namespace: of Iceberg; empty for the name of the grid.
        topics: beginnings of the topics.
        flush_rows: rows that are gathered for a commit.
        flush_s: a commit comes no later than this after its first row.
        compact_files: so many small files of a table, or of its day, are made one; 0: never.
    """

    enabled: bool = True
    format: Literal["parquet", "iceberg"] = "parquet"
    folder: str = ""
    s3: S3Config = S3Config()
    catalog: dict[str, str] = {}
    namespace: str = ""
    topics: Topics = TOPICS
    flush_rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100_000
    flush_s: Positive = 10.0
    compact_files: Annotated[int, msgspec.Meta(ge=0)] = 0


class PostgresConfig(_Section, frozen=True):
    """Events as tables of PostgreSQL.

    Its address holds a secret: it is read from an environment variable, so that no recording and no
    log has it.

    Attributes:
        enabled: whether there are any.
        uri_env: name of that variable, which holds a `postgresql://USER:PASSWORD@HOST/DATABASE`.
        schema: of the tables; empty for the name of the grid.
        topics: beginnings of the topics.
        flush_rows: rows that are gathered for a commit.
        flush_s: a commit comes no later than this after its first row.
    """

    enabled: bool = True
    uri_env: Text = "ARGONAUT_POSTGRES"
    schema: Annotated[str, msgspec.Meta(max_length=63)] = ""
    topics: Topics = TOPICS
    flush_rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100_000
    flush_s: Positive = 1.0


class KafkaConfig(_Section, frozen=True):
    """Events as records of Kafka topics.

    Attributes:
        enabled: whether there is one.
        servers: `bootstrap.servers` of librdkafka, as in `localhost:9092`.
        topic: beginning of the Kafka topics' names.
        topics: beginnings of the bus topics.
        encoding: of a record's value.
    """

    servers: Text
    enabled: bool = True
    topic: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]+$", max_length=100)] = "argonaut"
    topics: Topics = TOPICS
    encoding: Literal["msgpack", "json"] = "msgpack"


class KafkaFeed(_Section, frozen=True):
    """A Kafka topic that a grid's feed takes its rows from.

    Attributes:
        servers: `bootstrap.servers` of librdkafka, as in `localhost:9092`.
        topic: the Kafka topic, whole.
        begin: at the first start: with the oldest record that the cluster has, or with the next.
    """

    servers: Text
    topic: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)]
    begin: Literal["earliest", "latest"] = "earliest"


class AlertsConfig(_Section, frozen=True):
    """Messages to people.

    The addresses, which hold secrets, are read from an environment variable, so that no recording
    and no log has them: addresses of apprise, separated by spaces.

    Attributes:
        enabled: whether there are any.
        urls_env: name of that variable.
        fill_qty: fills of at least so much are told; 0: none.
        silent_s: an agent whose heartbeats stop for so long is lost.
        per_minute: messages; what comes beyond is counted and told in one line.
        summary: whether a summary is sent after each UTC day.
        telegram_chats: ids of the Telegram chats whose commands are obeyed; none: no commands.
        telegram_token_env: name of the variable with the token of the bot that takes them.
        telegram_api: where the Bot API is.
    """

    enabled: bool = True
    urls_env: Text = "ARGONAUT_ALERTS"
    fill_qty: NonNegative = 0.0
    silent_s: Positive = 5.0
    per_minute: Annotated[int, msgspec.Meta(ge=1)] = 20
    summary: bool = True
    telegram_chats: tuple[int, ...] = ()
    telegram_token_env: Text = "ARGONAUT_TELEGRAM_TOKEN"
    telegram_api: Annotated[str, msgspec.Meta(pattern=r"^https?://")] = "https://api.telegram.org"
