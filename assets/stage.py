"""What every stage shares: partitions, asset specs, the days a run was asked for, and metadata people look at."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from lifecycle.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

STAGES = ("raw", "validated", "features", "training", "deployment", "predictions", "monitoring")


def partitions(pipeline: Pipeline) -> dg.DailyPartitionsDefinition:
    """One partition per business day of the pipeline."""
    end = pipeline.last_day + timedelta(days=1) if pipeline.last_day else None
    return dg.DailyPartitionsDefinition(
        start_date=str(pipeline.first_day),
        end_date=str(end) if end else None,
        timezone=pipeline.calendar.timezone,
    )


def key(pipeline: Pipeline, *path: str) -> dg.AssetKey:
    return dg.AssetKey([pipeline.name, *path])


def spec(
    pipeline: Pipeline,
    *path: str,
    group: str,
    description: str,
    kinds: set[str],
    deps: Iterable[dg.AssetDep | dg.AssetKey] = (),
    columns: Sequence[tuple[str, str, str]] = (),
    skippable: bool = False,
) -> dg.AssetSpec:
    """The spec of one asset of a pipeline; ``columns`` are (name, type, description)."""
    metadata: dict[str, Any] = {}
    if columns:
        metadata["dagster/column_schema"] = dg.TableSchema(
            columns=[dg.TableColumn(name, kind, description=text) for name, kind, text in columns]
        )
    return dg.AssetSpec(
        key(pipeline, *path),
        group_name=group,
        description=description,
        kinds=kinds,
        owners=[pipeline.owner],
        deps=list(deps),
        partitions_def=partitions(pipeline),
        metadata=metadata,
        tags={"pipeline": pipeline.name, "stage": group},
        skippable=skippable,
    )


def check(
    pipeline: Pipeline, asset: dg.AssetKey, name: str, description: str, blocking: bool = False
) -> dg.AssetCheckSpec:
    """The spec of a check, recorded per partition."""
    return dg.AssetCheckSpec(
        name, asset=asset, description=description, blocking=blocking, partitions_def=partitions(pipeline)
    )


def trailing(asset: dg.AssetKey, days: int, until: int = 0) -> dg.AssetDep:
    """A dependency on the partitions D-days … D+until (``until`` is 0 or negative)."""
    mapping = dg.TimeWindowPartitionMapping(
        start_offset=-days, end_offset=until, allow_nonexistent_upstream_partitions=True
    )
    return dg.AssetDep(asset, partition_mapping=mapping)


def up_to(asset: dg.AssetKey, pipeline: Pipeline) -> dg.AssetDep:
    """A dependency on all partitions up to D: what a model trained as of D may have learnt from."""
    longest = 366 if pipeline.last_day is None else (pipeline.last_day - pipeline.first_day).days
    return trailing(asset, longest)


def asked_days(context: dg.AssetExecutionContext) -> list[date]:
    """The days a run was asked for, in order: one for a nightly run, many for a backfill in one run."""
    return sorted(date.fromisoformat(partition) for partition in context.partition_keys)


def last_day(context: dg.AssetExecutionContext) -> date:
    """The day of a run, the last one where a range was asked for."""
    return asked_days(context)[-1]


def contiguous(days: Sequence[date]) -> tuple[date, date]:
    """First and last of days that must have no gap.

    Raises
    ------
    ValueError
        If days are missing between the first and the last: writing the range would empty them.
    """
    first, last = days[0], days[-1]
    if (last - first).days + 1 != len(days):
        raise ValueError(f"asked for {len(days)} days between {first} and {last}: backfill a range without gaps")
    return first, last


def passed(
    asset: dg.AssetKey,
    name: str,
    ok: bool,
    message: str,
    *,
    warn: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """A check's result: what it saw, beside what it was held against."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=bool(ok),
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        description=message,
        metadata=metadata or {},
    )


def image(png: bytes, alt: str) -> str:
    """A picture as Markdown that Dagster draws in the asset's page."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})"


def markdown_table(frame: "pl.DataFrame", limit: int = 20) -> dg.MarkdownMetadataValue:
    """The first rows of a frame as a table."""
    head = frame.head(limit)
    lines = ["| " + " | ".join(head.columns) + " |", "|" + "---|" * len(head.columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in head.iter_rows()]
    if frame.height > limit:
        lines.append(f"\n{frame.height - limit} more rows")
    return dg.MetadataValue.md("\n".join(lines))


def number(value: float) -> float:
    """A measured value as people read it: four digits."""
    return float(f"{value:.4g}")


def _cell(value: object) -> str:
    return _text(value).replace("|", "\\|").replace("\n", " ")[:200]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
