"""Validated: rows that meet the contract; the others wait in quarantine with the reasons."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.raw import raw_table
from lifecycle import validation
from lifecycle.business_day import business_day
from lifecycle.pipeline import Pipeline, Table
from resources.expectations import Verdict, validate
from resources.lake import Lake
from resources.tables import validated_table

if TYPE_CHECKING:
    import polars as pl

# A row delivered later than this is not looked up among the days it could have been delivered on before.
LATEST_DAYS = 45


def quarantine_table(pipeline: Pipeline, name: str) -> str:
    return f"{pipeline.name}/quarantine/{name}"


@dataclass(frozen=True)
class Validation:
    """What became of the landed rows of one table."""

    table: Table
    rows_in: int
    sorted: validation.Sorted
    verdict: Verdict
    blocked: tuple[str, ...]


def build(pipeline: Pipeline) -> dg.Definitions:
    @dg.multi_asset(
        name=f"{pipeline.name}__validated",
        specs=[_spec(pipeline, table) for table in pipeline.tables],
        check_specs=[check for table in pipeline.tables for check in _check_specs(pipeline, table)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def validated(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        days = stage.asked_days(context)
        checks: list[dg.AssetCheckResult] = []
        tables = [
            table
            for table in pipeline.tables
            if stage.key(pipeline, "validated", table.name) in context.selected_asset_keys
        ]
        made = (_validate(pipeline, table, days, lake) for table in tables)
        for versions, found in lake.write_each(made, *stage.contiguous(days)):
            name = found.table.name
            metadata = _metadata(found, versions[validated_table(pipeline, name)])
            yield dg.MaterializeResult(asset_key=stage.key(pipeline, "validated", name), metadata=metadata)
            checks += _checks(pipeline, found, days)
        # A blocking check that fails ends the step: everything is written and said before it is.
        yield from sorted(checks, key=lambda result: not result.passed)

    return dg.Definitions(assets=[validated])


def _spec(pipeline: Pipeline, table: Table) -> dg.AssetSpec:
    columns = [(column.name, column.type, column.description) for column in table.contract.columns]
    columns.append(("available_at", "timestamp", "when the fact reached us; later than it was known if late"))
    return stage.spec(
        pipeline,
        "validated",
        table.name,
        group="validated",
        description=f"{table.description} Rows that meet the contract, typed and without duplicates. "
        f"Rows that do not are in the lake table `{quarantine_table(pipeline, table.name)}` with the reasons: "
        "land a repaired file for the day and materialize it again.",
        kinds={"greatexpectations", "deltalake"},
        deps=[stage.key(pipeline, "raw", table.name)],
        columns=columns,
    )


def _check_specs(pipeline: Pipeline, table: Table) -> list[dg.AssetCheckSpec]:
    asset = stage.key(pipeline, "validated", table.name)
    return [
        stage.check(
            pipeline,
            asset,
            "contract",
            "The Great Expectations suite made from the contract. Rows that break it go to quarantine; critical "
            "expectations, or too large a share in quarantine, block the day.",
            blocking=True,
        ),
        stage.check(
            pipeline, asset, "reconciled", "Every landed row is valid, a duplicate, or in quarantine: none is lost."
        ),
    ]


def _validate(
    pipeline: Pipeline, table: Table, days: list[date], lake: Lake
) -> "tuple[dict[str, pl.DataFrame], Validation]":
    """A table's rows in quarantine and its valid ones, as they are to be written, and what became of them."""
    import polars as pl

    first, last = stage.contiguous(days)
    raw = lake.read(raw_table(pipeline, table), first, last)
    typed = validation.type_rows(raw, table, pipeline.calendar, days)
    typed = validation.mark_duplicates(typed, _earlier(pipeline, table, typed, first, lake), table.contract)
    verdict = validate(table, typed.filter(~pl.col("_duplicate")))
    found = validation.sort_rows(typed, verdict.failures, table.contract)
    # The quarantine first: what is not valid is somewhere from the moment on that it is not among the valid.
    heaps = {
        quarantine_table(pipeline, table.name): found.quarantined,
        validated_table(pipeline, table.name): found.valid,
    }
    return heaps, Validation(table, raw.height, found, verdict, tuple(_blocking(table, found, verdict)))


def _earlier(pipeline: Pipeline, table: Table, typed: "pl.DataFrame", first: date, lake: Lake) -> "pl.DataFrame":
    """Valid rows of earlier days that late rows of these days may repeat; nothing is read when none is late."""
    import polars as pl

    names = [*table.contract.names, "day"]
    known_on: Any = typed.select(business_day(pl.col(table.known_at).min(), pipeline.calendar)).item()
    name = validated_table(pipeline, table.name)
    if known_on is None or known_on >= first or not lake.exists(name):
        return typed.head(0).select(names)
    since = max(known_on, first - timedelta(days=LATEST_DAYS))
    late = typed.filter(pl.col("available_at") != pl.col(table.known_at)).select(table.contract.key)
    return lake.read(name, since, first - timedelta(days=1), names).join(late, on=list(table.contract.key), how="semi")


def _blocking(table: Table, found: validation.Sorted, verdict: Verdict) -> Iterator[str]:
    for outcome in verdict.critical:
        yield f"{table.name}: {outcome.sample or outcome.rule} ({outcome.unexpected} rows)"
    rows = found.valid.height + found.quarantined.height
    limit = table.contract.max_quarantined_share
    if rows and found.quarantined.height > limit * rows:
        yield (
            f"{table.name}: {found.quarantined.height} of {rows} rows in quarantine, more than {limit:.0%}; "
            f"most often: {_most_often(found)}"
        )


def _most_often(found: validation.Sorted) -> str:
    counts = found.quarantined["reasons"].value_counts(sort=True)
    return str(counts["reasons"][0]) if counts.height else ""


def _checks(pipeline: Pipeline, found: Validation, days: list[date]) -> list[dg.AssetCheckResult]:
    asset = stage.key(pipeline, "validated", found.table.name)
    heaps = found.sorted
    accounted = heaps.valid.height + heaps.quarantined.height + heaps.duplicates.height
    failed = [outcome for outcome in found.verdict.outcomes if not outcome.passed]
    message = "; ".join(found.blocked) or "; ".join(f"{o.rule}: {o.unexpected} rows, e.g. {o.sample}" for o in failed)
    return [
        stage.passed(
            asset,
            "contract",
            not failed and not found.blocked,
            message[:1000] or f"{heaps.valid.height} rows meet the contract",
            warn=not found.blocked,
            metadata={
                "quarantined": heaps.quarantined.height,
                "rules": len(found.verdict.outcomes),
                "files": ", ".join(heaps.quarantined["_file"].unique().sort().to_list())[:500],
                "reasons": stage.markdown_table(heaps.quarantined.select("_file", "_line", "reasons"), 10),
            },
        ),
        stage.passed(
            asset,
            "reconciled",
            accounted == found.rows_in,
            f"{found.rows_in} landed = {heaps.valid.height} valid + {heaps.duplicates.height} duplicates "
            f"+ {heaps.quarantined.height} in quarantine, for {days[0]} to {days[-1]}",
        ),
    ]


def _metadata(found: Validation, version: int) -> dict[str, Any]:
    import polars as pl

    outcomes = pl.DataFrame(
        [(o.rule, o.severity, "yes" if o.passed else "no", o.unexpected) for o in found.verdict.outcomes],
        schema=["rule", "severity", "holds", "rows against it"],
        orient="row",
    )
    return {
        "dagster/row_count": found.sorted.valid.height,
        "duplicates": found.sorted.duplicates.height,
        "quarantined": found.sorted.quarantined.height,
        "delta_version": version,
        "suite": stage.markdown_table(outcomes, 60),
    }
