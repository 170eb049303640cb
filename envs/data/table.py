"""A file of rows as it stands on disk: columns of text or numbers, and the place of every row."""

import codecs
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from grid.errors import DataError

type Column = pa.ChunkedArray

_DELIMITERS = ",;\t|"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Skipped:
    """A line of a CSV file that is no row of the table, having too many or too few fields."""

    number: int  # counted from 1, the header, leaving out empty lines
    expected: int
    found: int  # 0 where there is nothing but spaces


@dataclass(frozen=True)
class Table:
    """The columns of a file.

    Attributes:
        path: the file.
        names: the column names, as they are spelled.
        columns: one for each name: strings where the file is CSV, typed where it is Parquet.
        is_text: whether the file is CSV.
        skipped: the lines that are no rows, in order; CSV only.
    """

    path: Path
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    is_text: bool
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0]) if self.columns else 0

    def text(self, column: int, row: int) -> str:
        """Return what stands in a cell."""
        return repr(str(self.columns[column][row].as_py()))

    @property
    def misshapen(self) -> list[Skipped]:
        """The skipped lines that are not just empty."""
        return [line for line in self.skipped if line.found]

    def number(self, row: int) -> int:
        """Return the number of a row as `Skipped` counts it."""
        number = row + 2
        for line in self.skipped:
            number += line.number <= number
        return number

    def place(self, row: int) -> str:
        """Return `FILE:N`; N is the physical line in a CSV, the row from 1 in a Parquet file."""
        return self.place_of(self.number(row)) if self.is_text else f"{self.path}:{row + 1}"

    def place_of(self, number: int) -> str:
        """Return `FILE:N` of the `number`th line that is not empty."""
        seen = 0
        with pa.input_stream(str(self.path), compression="detect") as raw:
            for line, content in enumerate(io.BufferedReader(raw), start=1):
                seen += bool(content.rstrip(b"\r\n"))
                if seen == number:
                    return f"{self.path}:{line}"
        raise AssertionError(f"{self.path} has {seen} lines, not {number}")


def read_table(path: Path) -> Table:
    """Read a Parquet file, or else a CSV file, plain or compressed (.gz, .bz2, .zst).

    Raises:
        DataError: the file cannot be read as either.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"PAR1":
            table = pq.read_table(path)
            columns = tuple(_plain(column) for column in table.columns)
            return Table(path, tuple(table.column_names), columns, is_text=False)
        return _read_csv(path)
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, csv.Error) as e:
        raise DataError(f"{path}: neither CSV nor Parquet: {str(e).splitlines()[0]}") from e


def _plain(column: Column) -> Column:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _check_text(path: Path) -> None:
    # the reader of rows would print a traceback for each misshapen row that is no text
    decode = codecs.getincrementaldecoder("utf-8")().decode
    lines = 0
    with pa.input_stream(str(path), compression="detect") as stream:
        chunk = b"\n"
        while chunk:
            chunk = stream.read(_CHUNK_BYTES)
            try:
                decode(chunk, final=not chunk)
            except UnicodeDecodeError as e:
                line = lines + 1 + bytes(e.object[: e.start]).count(b"\n")
                raise DataError(
                    f"{path}:{line}: expected text in UTF-8, found byte 0x{e.object[e.start]:02x}: "
                    "neither CSV nor Parquet"
                ) from e
            lines += chunk.count(b"\n")


def _read_csv(path: Path) -> Table:
    _check_text(path)
    with pa.input_stream(str(path), compression="detect") as stream:
        header, after, _ = stream.read(1 << 16).partition(b"\n")
    header = header.decode("utf-8-sig", errors="replace").strip("\r")
    if not header.strip():
        raise DataError(f"{path}:1: expected a header with column names, found an empty line")
    delimiter = max(_DELIMITERS, key=header.count)
    names = tuple(name.strip() for name in next(csv.reader([header], delimiter=delimiter)))
    keys = [str(i) for i in range(len(names))]  # names may occur twice
    if not after:  # the reader refuses to skip all there is
        none = pa.chunked_array([], pa.string())
        return Table(path, names, (none,) * len(names), is_text=True)
    skipped: list[Skipped] = []

    def skip(line: pa_csv.InvalidRow) -> str:
        found = line.actual_columns if line.text.strip() else 0
        skipped.append(Skipped(line.number, line.expected_columns, found))
        return "skip"

    with pa.input_stream(str(path), compression="detect") as stream:
        table = pa_csv.read_csv(
            stream,
            pa_csv.ReadOptions(use_threads=False, skip_rows=1, column_names=keys),  # numbers lines
            pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
            ),
        )
    columns = tuple(pc.utf8_trim_whitespace(column) for column in table.columns)
    return Table(path, names, columns, is_text=True, skipped=skipped)
