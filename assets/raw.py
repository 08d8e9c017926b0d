"""Raw: the rows of landed files as they came, as text, with their origin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets import stage
from lifecycle.pipeline import Pipeline, Table
from resources.lake import Lake
from resources.landing import NOTHING_LANDED, Landing, read_landed

if TYPE_CHECKING:
    import polars as pl

VOLUME_DAYS = 28
SMALLEST_SHARE = 0.5


def raw_table(pipeline: Pipeline, table: Table) -> str:
    return f"{pipeline.name}/raw/{table.name}"


def build(pipeline: Pipeline) -> dg.Definitions:
    specs = [_spec(pipeline, table) for table in pipeline.tables]
    daily = [table for table in pipeline.tables if table.cadence == "daily"]
    checks = [
        stage.check(
            pipeline,
            stage.key(pipeline, "raw", table.name),
            "landed",
            "A file landed for the day, and it holds at least half as many rows as a usual day's.",
        )
        for table in daily
    ]

    @dg.multi_asset(
        name=f"{pipeline.name}__raw",
        specs=specs,
        check_specs=checks,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def raw(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], landing: dg.ResourceParam[Landing]
    ) -> Iterator[dg.MaterializeResult]:
        days = stage.asked_days(context)
        # Before anything is read: what lands meanwhile is then taken in by the next night.
        landed = landing.fingerprints(pipeline)
        fingerprints = {day: landed.get(day, NOTHING_LANDED) for day in days}
        tables = [
            table for table in pipeline.tables if stage.key(pipeline, "raw", table.name) in context.selected_asset_keys
        ]
        made = (_read(pipeline, table, days, landing, context.run.run_id) for table in tables)
        for versions, taken in lake.write_each(made, *stage.contiguous(days)):
            yield _ingested(pipeline, taken, versions, lake, landing)
        for day, fingerprint in fingerprints.items():
            landing.remember(pipeline, day, fingerprint)
            if fingerprint == NOTHING_LANDED:
                context.log.warning(f"nothing landed for {day} under {landing.root / pipeline.name}")

    return dg.Definitions(assets=[raw])


def _spec(pipeline: Pipeline, table: Table) -> dg.AssetSpec:
    columns = [(column.name, "string", column.description) for column in table.contract.columns]
    columns += [("_file", "string", "file the row came from"), ("_line", "int", "line in that file")]
    return stage.spec(
        pipeline,
        "raw",
        table.name,
        group="raw",
        description=f"{table.description} The rows as they landed, as text, with file and line. "
        f"Files: `{pipeline.name}/{table.name}/<day>.csv` in the landing folder.",
        kinds={"csv", "deltalake"},
        columns=columns,
    )


@dataclass(frozen=True)
class _Taken:
    """The files of a table and the rows they hold."""

    table: Table
    files: dict[date, list[Path]]
    rows: "pl.DataFrame"


def _read(
    pipeline: Pipeline, table: Table, days: list[date], landing: Landing, run_id: str
) -> "tuple[dict[str, pl.DataFrame], _Taken]":
    """The landed rows of a table, as they are to be written."""
    import polars as pl

    landed = landing.files(pipeline.name, table.name, set(days))
    files = {day: landed.get(day, []) for day in days}
    rows = pl.concat(
        [read_landed(table, files[day]).with_columns(pl.lit(day).alias("day")) for day in days]
    ).with_columns(pl.lit(run_id).alias("_run"))
    return {raw_table(pipeline, table): rows}, _Taken(table, files, rows)


def _ingested(
    pipeline: Pipeline, taken: _Taken, versions: Mapping[str, int], lake: Lake, landing: Landing
) -> dg.MaterializeResult:
    table, files, rows = taken.table, taken.files, taken.rows
    counts = dict(rows.group_by("day").len().iter_rows())
    return dg.MaterializeResult(
        asset_key=stage.key(pipeline, "raw", table.name),
        metadata={
            "dagster/row_count": rows.height,
            "files": ", ".join(path.name for paths in files.values() for path in paths)[:500] or "none",
            "delta_version": versions[raw_table(pipeline, table)],
            "first_rows": stage.markdown_table(rows.select(*table.contract.names, "_file", "_line"), 5),
        },
        check_results=[_landed(pipeline, table, files, counts, lake, landing)] if table.cadence == "daily" else [],
    )


def _landed(
    pipeline: Pipeline, table: Table, files: dict, counts: dict[date, int], lake: Lake, landing: Landing
) -> dg.AssetCheckResult:
    asset = stage.key(pipeline, "raw", table.name)
    folder = landing.root / pipeline.name / table.name
    missing = [day for day, paths in files.items() if not paths]
    empty = [day for day, paths in files.items() if paths and not counts.get(day)]
    first = min(files)
    usual = _usual_rows(lake.row_counts(raw_table(pipeline, table)), first - timedelta(days=VOLUME_DAYS), first)
    thin = [day for day in files if usual and 0 < counts.get(day, 0) < SMALLEST_SHARE * usual]
    problems = [
        *(f"{table.name}: no file for {day}; expected {folder / f'{day}.csv'}" for day in missing),
        *(f"{table.name}: {files[day][0].name} is empty" for day in empty),
        *(f"{table.name}: {files[day][0].name} has {counts[day]} rows, a usual day has {usual:.0f}" for day in thin),
    ]
    return stage.passed(
        asset,
        "landed",
        not problems,
        "; ".join(problems[:5]) or f"{sum(map(len, files.values()))} files, {sum(counts.values())} rows",
        # The first day of all may bring a header and nothing else; later an empty day is an error.
        warn=not missing and (bool(thin) or usual is None),
        metadata={"rows": sum(counts.values()), "usual_rows_a_day": usual or 0.0, "problems": len(problems)},
    )


def _usual_rows(counts: dict[date, int], first: date, last: date) -> float | None:
    """Median rows of the days in [first, last) that had any; None where there were none."""
    import statistics

    found = [rows for day, rows in counts.items() if first <= day < last and rows]
    return float(statistics.median(found)) if found else None
