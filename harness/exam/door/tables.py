"""Tables of a foreign world: CSV, CSV.gz and .npz, read strictly, every complaint with file and line.

An empty field is a missing value. In .npz, which has no empty fields, NaN is one; in CSV the word `nan` is an error,
since it hides whether a value was missing or went wrong.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.config.complain import did_you_mean
from harness.core.clock import Int64Array
from harness.core.errors import SpecError

MAX_TIME_S = 9e9  # int64 nanoseconds end soon after
BoolArray = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Columns of equal length; `empty`: which fields hold nothing. `what`: what the table is, for errors."""

    path: Path
    what: str
    rows: int
    columns: Mapping[str, Values]
    empty: Mapping[str, BoolArray]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def error(self, message: str, row: int | None = None, *, hint: str = "") -> SpecError:
        """A SpecError at a row (0-based): a line of a CSV file, a row of an .npz."""
        if row is None:
            return SpecError(message, hint=hint, file=self.path)
        if self.path.suffix == ".npz":
            return SpecError(f"row {row}: {message}", hint=hint, file=self.path)
        return SpecError(message, hint=hint, file=self.path, line=row + 2)

    def full(self, name: str) -> Values:
        """A column that must have no empty field."""
        empty = self.empty[name]
        if empty.any():
            raise self.error(f"{name} is empty", int(np.argmax(empty)), hint=f"every row of {self.what} needs it")
        return self.columns[name]

    def time_ns(self, name: str) -> Int64Array:
        """The time `<name>_ns` or `<name>_s` as int64 ns."""
        names = [column for column in (f"{name}_ns", f"{name}_s") if column in self]
        if len(names) != 1:
            raise self.error(
                f"{self.what} need {name}_s or {name}_ns, one of the two; there is {names or 'neither'}",
                hint="seconds as decimal numbers, or whole nanoseconds",
            )
        values = self.full(names[0])
        if names[0].endswith("_ns"):
            return np.asarray(values, np.int64)
        far = np.abs(values) > MAX_TIME_S
        if far.any():
            row = int(np.argmax(far))
            raise self.error(f"{names[0]} is {values[row]:g} s, beyond {MAX_TIME_S:g} s", row, hint="is it in ns?")
        return np.asarray(np.rint(values * 1e9), np.int64)

    def increasing(self, t_ns: Int64Array, name: str, *, strictly: bool = True) -> None:
        """SpecError at the first row whose time is not after the row before."""
        step = np.diff(t_ns)
        wrong = step <= 0 if strictly else step < 0
        if not wrong.any():
            return
        row = int(np.argmax(wrong)) + 1
        said = "repeats the time of the row before" if step[row - 1] == 0 else "goes back"
        by = "" if step[row - 1] == 0 else f" by {-step[row - 1] * 1e-9:.9g} s"
        raise self.error(
            f"{name} {said}{by}; {self.what} must be in order of time",
            row,
            hint="sort the rows; keep one of two rows of the same time; a clock that is set back cannot be placed",
        )


def read_table(
    path: Path, what: str, *, floats: Collection[str] = (), ints: Collection[str] = (), texts: Collection[str] = (),
    times: Collection[str] = (), required: Collection[str] = (),
) -> Table:  # fmt: skip
    """Read the table `what`. `times` stand for `<time>_s` (float) or `<time>_ns` (int).

    SpecError for a file that is missing, cut off or not a table, for columns that are unknown or missing, and for
    fields that are not of their kind.
    """
    kinds: dict[str, Any] = dict.fromkeys(floats, np.float64) | dict.fromkeys(ints, np.int64)
    kinds |= dict.fromkeys(texts, str)
    for time in times:
        kinds |= {f"{time}_s": np.float64, f"{time}_ns": np.int64}
    try:
        if path.suffix == ".npz":
            columns, empty = _from_npz(path, kinds, what)
        elif path.name.endswith((".csv", ".csv.gz")):
            columns, empty = _from_csv(path, kinds, what)
        else:
            raise SpecError(f"{path.name} is of no known kind of table", hint="use .csv, .csv.gz or .npz", file=path)
    except OSError as error:
        raise SpecError(f"cannot read {what}: {error.strerror or error}", hint="check the name", file=path) from None
    for name in required:
        if name not in columns:
            raise SpecError(
                f"the column {name!r} is missing from {what}", hint=f"it has {sorted(columns)}", file=path, line=1
            )
    rows = len(next(iter(columns.values())))
    return Table(path, what, rows, columns, empty)


def _unknown(names: Collection[str], kinds: Mapping[str, Any], what: str, path: Path) -> None:
    for name in names:
        if name not in kinds:
            raise SpecError(
                f"{what} have no column {name!r}", hint=did_you_mean(name, kinds), file=path,
                line=None if path.suffix == ".npz" else 1,
            )  # fmt: skip


def _from_csv(path: Path, kinds: Mapping[str, Any], what: str) -> tuple[dict[str, Values], dict[str, BoolArray]]:
    import pyarrow as pa
    from pyarrow import csv

    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SpecError(f"is cut off or no gzip file: {error}", hint="write it anew", file=path) from None
    if not data.endswith(b"\n"):
        raise SpecError(
            f"{what}: the last line has no end, so the file may be cut off",
            hint="end every line with a newline, the last one too",
            file=path,
            line=data.count(b"\n") + 1,
        )
    header = data[: data.index(b"\n")].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    names = [name.strip().strip('"') for name in header.split(",")]
    _unknown(names, kinds, what, path)
    if len(set(names)) < len(names):
        raise SpecError(f"{what}: a column stands there twice: {header}", hint="keep one", file=path, line=1)
    types = {name: {np.float64: pa.float64(), np.int64: pa.int64(), str: pa.string()}[kinds[name]] for name in names}
    try:
        table = csv.read_csv(
            io.BytesIO(data),
            read_options=csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            parse_options=csv.ParseOptions(ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
        )
    except pa.ArrowInvalid as error:
        raise _csv_error(str(error), names, what, path) from None
    columns, empty = {}, {}
    for name in names:
        column = table.column(name).combine_chunks()
        empty[name] = np.asarray(column.is_null().to_numpy(zero_copy_only=False), np.bool_)
        if kinds[name] is str:
            columns[name] = np.array([v or "" for v in column.to_pylist()], dtype=object)
            continue
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        wrong = ~np.isfinite(values)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise SpecError(
                f"{name} is {values[row]}, not a number", hint="leave the field empty where there is no value",
                file=path, line=row + 2,
            )  # fmt: skip
        columns[name] = np.where(empty[name], np.nan, values) if kinds[name] is np.float64 else values
    return columns, empty


def _csv_error(text: str, names: list[str], what: str, path: Path) -> SpecError:
    found = re.search(r"Row #(\d+)", text)
    line = int(found[1]) if found else None
    column = re.search(r"CSV column #(\d+)", text)
    if column and (value := re.search(r"conversion error to (\w+): invalid value '(.*)'", text)):
        name = names[int(column[1])]
        kind = "a number" if value[1] == "double" else "a whole number"
        return SpecError(f"{name} is {value[2]!r}, not {kind}", hint="correct the field", file=path, line=line)
    if counts := re.search(r"Expected (\d+) columns, got (\d+)", text):
        return SpecError(
            f"{what}: this line has {counts[2]} fields, the header has {counts[1]}", hint="is the file cut off?",
            file=path, line=line,
        )  # fmt: skip
    return SpecError(f"{what} are no CSV: {text}", hint="see docs/world-format.md", file=path, line=line)


def _from_npz(path: Path, kinds: Mapping[str, Any], what: str) -> tuple[dict[str, Values], dict[str, BoolArray]]:
    columns: dict[str, Values] = {}
    empty: dict[str, BoolArray] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            _unknown(arrays.files, kinds, what, path)
            found = {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, EOFError, zlib.error, TypeError, AttributeError) as error:
        raise SpecError(f"is cut off or no .npz file: {error}", hint="write it with numpy.savez", file=path) from None
    if not found:
        raise SpecError(f"{what}: the file holds no column", file=path)
    length = len(next(iter(found.values()))) if next(iter(found.values())).ndim else -1
    for name, values in found.items():
        if values.ndim != 1 or len(values) != length:
            raise SpecError(
                f"{name} has the shape {values.shape}, the first column has {length} rows",
                hint="columns are arrays of one dimension and equal length", file=path,
            )  # fmt: skip
        wanted = kinds[name]
        fits = values.dtype.kind in ("U" if wanted is str else "iu" if wanted is np.int64 else "iuf")
        if not fits or values.dtype in (np.float16, np.float32):
            raise SpecError(
                f"{name} is {values.dtype}, not {'text' if wanted is str else np.dtype(wanted).name}",
                hint="float32 is too coarse for times and energies: write float64", file=path,
            )  # fmt: skip
        columns[name] = values.astype(object) if wanted is str else values.astype(wanted)
        empty[name] = np.isnan(columns[name]) if wanted is np.float64 else np.zeros(length, np.bool_)
        if wanted is np.float64 and np.isinf(columns[name]).any():
            raise SpecError(f"row {int(np.argmax(np.isinf(columns[name])))}: {name} is infinite", file=path)
    return columns, empty
