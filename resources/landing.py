"""The landing folder: files that an upstream puts down, one folder a table, one or more files a day.

Layout: ``<landing>/<pipeline>/<table>/<YYYY-MM-DD>[.anything].csv``. What belongs here: finding and reading the
files as text, and remembering what was ingested. Judging the rows is the contract's work.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.pipeline import Pipeline, Table

if TYPE_CHECKING:
    import polars as pl

NOTHING_LANDED = "nothing landed"
# Columns that say where a row came from, added to the source's own.
ORIGIN = ("_file", "_line", "_extra", "_problem")
LONGEST_LIST = 300  # characters of foreign column names in a message; bytes that are no CSV have long ones


@dataclass(frozen=True)
class Landing:
    """Files as they arrive, and which of them a nightly run has already taken in."""

    root: Path
    ingested: Path

    def files(self, pipeline: str, table: str, days: Collection[date] | None = None) -> dict[date, list[Path]]:
        """The files of one table by the day they name, in order of day and name; other files are not looked at.

        Parameters
        ----------
        days : only these days' files.
        """
        folder = self.root / pipeline / table
        names = os.listdir(folder) if folder.is_dir() else []  # several times faster than glob over a year of files
        found: dict[date, list[Path]] = {}
        for name in sorted(names):
            day = _day_of(name)
            if day and (days is None or day in days):
                found.setdefault(day, []).append(folder / name)
        return found

    def fingerprints(self, pipeline: Pipeline) -> dict[date, str]:
        """The days for which anything landed, in order, each with a digest of its files' names, sizes and times.

        The digest changes when something lands for the day again.
        """
        facts: dict[date, list[str]] = {}
        for table in pipeline.tables:
            folder = self.root / pipeline.name / table.name
            with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if day := _day_of(entry.name):
                        stat = entry.stat()
                        facts.setdefault(day, []).append(f"{entry.name}:{stat.st_size}:{stat.st_mtime_ns}")
        return {day: hashlib.sha256("|".join(facts[day]).encode()).hexdigest()[:16] for day in sorted(facts)}

    def remember(self, pipeline: Pipeline, day: date, fingerprint: str) -> None:
        """Notes that a day's files, as they were at ``fingerprint``, are in the lake."""
        path = Path(self._note(pipeline, day))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({"day": str(day), "fingerprint": fingerprint}))
        partial.replace(path)

    def remembered(self, pipeline: Pipeline, day: date) -> str | None:
        """The fingerprint of a day's files when they were last ingested, None if they never were."""
        path = self._note(pipeline, day)
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            return None
        return _noted(path, stat.st_ino, stat.st_mtime_ns)

    def _note(self, pipeline: Pipeline, day: date) -> str:
        return os.path.join(self.ingested, pipeline.name, f"{day}.json")


@lru_cache(maxsize=10_000)
def _noted(path: str, inode: int, changed: int) -> str:  # noqa: ARG001 — a note that was written again is another
    """The fingerprint in a note; every night looks at those of all days."""
    return str(json.loads(Path(path).read_text())["fingerprint"])


def read_landed(table: Table, files: Sequence[Path]) -> pl.DataFrame:
    """The rows of landed files as text, with their origin; nothing is judged and nothing is lost.

    Returns
    -------
    polars.DataFrame
        The contract's columns as strings (null where a file has none), ``_file``, ``_line`` (1 is the header),
        ``_extra`` (JSON of fields the contract does not name) and ``_problem`` (what is wrong with the whole file).
    """
    import polars as pl

    schema = dict.fromkeys([*table.contract.names, *ORIGIN], pl.String()) | {"_line": pl.Int64()}
    frames = [_read_file(table, path) for path in files]
    return pl.concat([pl.DataFrame(schema=schema), *(frame.select(list(schema)) for frame in frames)])


def _read_file(table: Table, path: Path) -> pl.DataFrame:
    import polars as pl

    if not path.read_bytes()[:4096].strip():
        return _with_origin(table, pl.DataFrame({name: [] for name in table.contract.names}), path)
    try:
        frame = pl.read_csv(path, infer_schema=False)
        lines = frame.with_columns(_line=pl.int_range(2, pl.len() + 2, dtype=pl.Int64))
        return _with_origin(table, lines, path)
    except (pl.exceptions.PolarsError, OSError):
        # Lines with too many fields, broken quotes or bytes, archives cut short: read slowly, keeping every piece.
        return _with_origin(table, _read_ragged(path), path)


def _read_ragged(path: Path) -> pl.DataFrame:
    import polars as pl

    csv.field_size_limit(sys.maxsize)  # a quote that is never closed makes one field of the rest of the file
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        header = _distinct(next(reader, []))
        rows = [(reader.line_num, fields) for fields in reader if fields]
    width = len(header)
    data: dict[str, list[str | None] | list[int]] = {
        name: [fields[n] if n < len(fields) and fields[n] != "" else None for _, fields in rows]
        for n, name in enumerate(header)
    }
    data["_line"] = [line for line, _ in rows]
    data["_surplus"] = [json.dumps(fields[width:]) if len(fields) > width else None for _, fields in rows]
    return pl.DataFrame(data, schema_overrides=dict.fromkeys([*header, "_surplus"], pl.String()))


def _distinct(header: list[str]) -> list[str]:
    """The names of a header, a repeated one told apart as Polars does."""
    return [
        f"{name}_duplicated_{header[:n].count(name) - 1}" if name in header[:n] else name
        for n, name in enumerate(header)
    ]


def _with_origin(table: Table, frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    import polars as pl

    names = table.contract.names
    missing = [name for name in names if name not in frame.columns]
    extra = [name for name in frame.columns if name not in names and name != "_line"]
    problem = None
    if missing:
        problem = f"{path.name}: column {', '.join(map(repr, missing))} missing"
        problem += f"; it has {', '.join(map(repr, extra))[:LONGEST_LIST]} instead" if extra else ""
    surplus = pl.struct(extra).struct.json_encode() if extra else pl.lit(None, dtype=pl.String)
    has_surplus = pl.any_horizontal(pl.col(extra).is_not_null()) if extra else pl.lit(value=False)
    return frame.with_columns(
        *(pl.lit(None, dtype=pl.String).alias(name) for name in missing),
        *([] if "_line" in frame.columns else [pl.lit(None, dtype=pl.Int64).alias("_line")]),
        pl.lit(path.name).alias("_file"),
        pl.when(has_surplus).then(surplus).alias("_extra"),
        pl.lit(problem, dtype=pl.String).alias("_problem"),
    ).with_columns(pl.col("_line").cast(pl.Int64), *(pl.col(name).cast(pl.String) for name in names))


@lru_cache(maxsize=10_000)
def _day_of(name: str) -> date | None:
    """The day that a file's name says it is of; None for one that is no landed file."""
    try:
        day = date.fromisoformat(name[:10])
    except ValueError:
        return None
    return day if name.endswith(".csv") and name[10] in ".-_" else None
