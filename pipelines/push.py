"""Pushes facts online between nightly runs: `python -m pipelines.push flight_delays departures new.csv`.

The file has the table's columns, as one that lands would. Every row is taken, a duplicate, or rejected with its
reasons; facts that were taken count at once, and until a nightly run has brought them. A file with nothing but its
header brings the online values up to the hour.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.pipeline import Pipeline
from resources.configured import plain_feature_store
from resources.landing import read_landed
from resources.settings import Settings, quiet_environment

if TYPE_CHECKING:
    from resources.pushed import PushReport

REJECTED_SHOWN = 10


def push_file(settings: Settings, pipeline: Pipeline, table: str, file: Path, now: datetime) -> PushReport:
    """Pushes the rows of a file; see ``resources.pushed.push``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    rows = read_landed(pipeline.table(table), [file])
    return plain_feature_store(settings).push(pipeline, table, rows, now)


def described(report: PushReport) -> list[str]:
    """A report in lines that people read."""
    lines = [
        f"{report.taken} facts taken, {report.duplicates} duplicates, {report.rejected.height} rejected",
        *(
            f"  {row['_file']} line {row['_line']}: {row['reasons']}"
            for row in report.rejected.head(REJECTED_SHOWN).iter_rows(named=True)
        ),
    ]
    if report.rejected.height > REJECTED_SHOWN:
        lines.append(f"  and {report.rejected.height - REJECTED_SHOWN} more")
    if report.late:
        lines.append(f"{report.late} were known before the last nightly run: they count from the close of the day")
    if report.overdue:
        lines.append(f"{report.overdue} facts pushed earlier are missing in what the nightly runs have brought since")
    written = ", ".join(f"{view} {rows}" for view, rows in report.written.items())
    lines.append(f"online rows written: {written or 'none, no view is made of this table'}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when every row was taken or a duplicate, 1 when some were rejected."""
    quiet_environment()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline", help="name of a pipeline in the setting PERENNIAL_PIPELINES")
    parser.add_argument("table", help="one of its source tables")
    parser.add_argument("file", type=Path, help="CSV file with the table's columns")
    parser.add_argument("--now", type=datetime.fromisoformat, help="the moment it is, with offset; default: the clock")
    chosen = parser.parse_args(arguments)
    settings, started = Settings(), time.perf_counter()
    try:
        pipeline = _declared(settings, chosen.pipeline)
        report = push_file(settings, pipeline, chosen.table, chosen.file, chosen.now or datetime.now(UTC))
    except (ValueError, KeyError, OSError) as error:
        parser.error(str(error.args[0] if isinstance(error, KeyError) else error))
    print("\n".join(described(report)))
    print(f"took {time.perf_counter() - started:.2f} s")
    return int(report.rejected.height > 0)


def _declared(settings: Settings, name: str) -> Pipeline:
    pipelines = [importlib.import_module(module.strip()).PIPELINE for module in settings.pipelines.split(",")]
    for pipeline in pipelines:
        if pipeline.name == name:
            declared: Pipeline = pipeline
            return declared
    raise ValueError(f"no pipeline {name!r}; declared are {[pipeline.name for pipeline in pipelines]}")


if __name__ == "__main__":
    sys.exit(main())
