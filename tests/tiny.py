"""A second, tiny pipeline: the orders of four cafés by the hour. Declared here and nowhere else.

What belongs here: its declaration, its feed of synthetic days, and how tests look at what a driver did.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.calendar import Calendar
from lifecycle.contract import Column, Contract
from lifecycle.derived import local_hour
from lifecycle.features import Aggregate, Derived, Feature, LatestView, WindowView
from lifecycle.pipeline import (
    GateRule,
    Label,
    Moment,
    MonitorRule,
    Pipeline,
    RetrainPolicy,
    Spine,
    Table,
    TrainingPlan,
)

if TYPE_CHECKING:
    import dagster as dg
    import polars as pl

    from pipelines.driver import Driver

CALENDAR = Calendar("Europe/Berlin", close_hour=4)
FIRST_DAY = date(2024, 2, 1)
LAST_DAY = date(2024, 3, 31)  # the night in which the clocks change
# From this day on the cafés offer discounts, which no model trained before knows what to make of.
OFFERS_FROM = date(2024, 3, 2)
CAFES = {"harbour": 30.0, "market": 45.0, "museum": 22.0, "station": 60.0}
HOURS = range(8, 18)

SLOT = Column("slot_id", "string", "café and hour")
CAFE = Column("cafe", "string", "which café", one_of=tuple(CAFES))

SLOTS = Table(
    "slots",
    Contract(
        columns=(
            SLOT,
            CAFE,
            Column("starts_at", "timestamp", "beginning of the hour"),
            Column("staff", "int", "people on duty", minimum=1, maximum=12),
            Column("discount", "float", "share taken off the price", minimum=0, maximum=1),
            Column("published_at", "timestamp", "when the rota was published"),
        ),
        key=("slot_id",),
    ),
    known_at="published_at",
    description="The opening hours of the next day, published the day before.",
)

ORDERS = Table(
    "orders",
    Contract(
        columns=(
            SLOT,
            CAFE,
            Column("starts_at", "timestamp", "beginning of the hour"),
            Column("orders", "int", "orders taken", minimum=0, maximum=500),
            Column("card_share", "float", "share paid by card", required=False, minimum=0, maximum=1),
            Column("outdoors", "bool", "whether there was service outdoors", required=False),
            Column("counted_at", "timestamp", "when the till was read"),
        ),
        key=("slot_id",),
    ),
    known_at="counted_at",
    description="The orders of an hour, counted at its end.",
)

SEATS = Table(
    "seats",
    Contract(
        columns=(
            CAFE,
            Column("seats", "int", "number of seats", minimum=1, maximum=300),
            Column("known_at", "timestamp", "when it was counted"),
        ),
        key=("cafe", "known_at"),
    ),
    known_at="known_at",
    description="The register of cafés.",
    cadence="occasional",
)


def number_of_orders() -> pl.Expr:
    import polars as pl

    return pl.col("orders").cast(pl.Float64)


VIEWS = (
    WindowView(
        "cafe_orders",
        ("cafe",),
        "orders",
        (
            Aggregate("mean", (timedelta(hours=24), timedelta(days=7)), "orders", minimum=0, maximum=500),
            Aggregate("count", (timedelta(hours=24),)),
        ),
        "Orders of a café.",
    ),
    LatestView(
        "cafe_seats",
        ("cafe",),
        "seats",
        (("seats", Feature("seats", "int", "number of seats", 1, 300)),),
        "How large a café is.",
    ),
)


def day_rows(day: date) -> dict[str, list[dict[str, object]]]:
    """What a day brings to each table: the slots of the next day, the orders of this one, the register at first."""
    tomorrow = day + timedelta(days=1)
    published = _local(day, 12)
    slots = [
        {
            "slot_id": _slot(cafe, tomorrow, hour),
            "cafe": cafe,
            "starts_at": _text(_local(tomorrow, hour)),
            "staff": 2 + (hour in range(11, 14)),
            "discount": _discount(cafe, tomorrow, hour),
            "published_at": _text(published),
        }
        for cafe in CAFES
        for hour in HOURS
    ]
    orders = [] if day == FIRST_DAY else [_orders(cafe, day, hour) for cafe in CAFES for hour in HOURS]
    rows = {"slots": slots, "orders": orders}
    if day == FIRST_DAY:
        rows["seats"] = [
            {"cafe": cafe, "seats": int(size * 2), "known_at": _text(published)} for cafe, size in CAFES.items()
        ]
    return rows


def write_day(landing: Path, day: date) -> list[Path]:
    """The feed: one file a table, whole or not at all, the same bytes each time."""
    return [write_rows(landing, table, f"{day}.csv", rows) for table, rows in day_rows(day).items()]


def write_rows(landing: Path, table: str, name: str, rows: Iterable[Mapping[str, object]]) -> Path:
    """A landed file of some rows; with its header only when there are none."""
    path = landing / TINY.name / table / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    partial = path.with_name(f".{name}.{os.getpid()}.partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0] if rows else TINY.table(table).contract.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return partial.replace(path)


TINY = Pipeline(
    name="cafe_orders",
    description="How many orders will a café take in an hour?",
    owner="team:cafes",
    calendar=CALENDAR,
    first_day=FIRST_DAY,
    last_day=LAST_DAY,
    tables=(SLOTS, ORDERS, SEATS),
    views=VIEWS,
    spine=Spine(
        table="slots",
        key=("slot_id",),
        event_time="starts_at",
        moments=(Moment("batch"), Moment("online", lead=timedelta(hours=1))),
        columns=("cafe", "staff", "discount"),
    ),
    derived=(
        Derived(Feature("hour", "float", "local hour", 0, 24), local_hour("event_time", CALENDAR.timezone)),
        Derived(Feature("staff", "float", "people on duty", 1, 12)),
        Derived(Feature("discount", "float", "share taken off the price", 0, 1)),
    ),
    label=Label("orders", "orders", number_of_orders, "Orders taken in the hour."),
    task="regression",
    slices=("cafe",),
    training=TrainingPlan(families=("linear", "hist_gradient_boosting"), trials=3, folds=2, fold_days=3, min_days=14),
    gate=GateRule(window_days=5, resamples=400, max_calibration_gap=8.0, max_slice_regression=40.0, min_slice_rows=50),
    monitor=MonitorRule(
        drift_days=5,
        performance_days=5,
        least_days=3,
        prediction_psi=1.0,
        ranking_drop=0.3,
        calibration_gap=4.0,
        report_weekday=None,
    ),
    retraining=RetrainPolicy(cool_down_days=8, probe_confidence=0.5),
    feed=write_day,
)


def variant(**changes: object) -> Pipeline:
    """The same pipeline with some fields declared otherwise."""
    return replace(TINY, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Seen:
    """One evaluation of a check."""

    passed: bool
    severity: str
    message: str
    metadata: dict[str, object]


def last_check(driver: Driver, asset: str, name: str) -> Seen:
    """The newest evaluation of a check of an asset such as ``validated/orders``."""
    record = driver.instance.event_log_storage.get_asset_check_execution_history(check_key(asset, name), limit=1)[0]
    found = record.evaluation
    assert found is not None, f"{asset}:{name} was planned but not evaluated"
    metadata = {label: value.value for label, value in found.metadata.items()}
    return Seen(found.passed, found.severity.value, found.description or "", metadata)


def check_key(asset: str, name: str) -> dg.AssetCheckKey:
    import dagster as dg

    return dg.AssetCheckKey(dg.AssetKey([TINY.name, *asset.split("/")]), name)


def _orders(cafe: str, day: date, hour: int) -> dict[str, object]:
    rng = random.Random(f"{cafe} {day} {hour}")
    rush = 1.5 if hour in range(11, 14) else 1.0
    weekend = 1.2 if day.weekday() >= 5 else 1.0
    expected = CAFES[cafe] * rush * weekend + 120 * _discount(cafe, day, hour)
    starts = _local(day, hour)
    return {
        "slot_id": _slot(cafe, day, hour),
        "cafe": cafe,
        "starts_at": _text(starts),
        "orders": max(0, round(rng.gauss(expected, expected**0.5))),
        "card_share": f"{rng.uniform(0.5, 0.9):.3f}",
        "outdoors": "true" if hour > 10 else "false",
        "counted_at": _text(starts + timedelta(hours=1)),
    }


def _discount(cafe: str, day: date, hour: int) -> float:
    if day < OFFERS_FROM:
        return 0.0
    return random.Random(f"discount {cafe} {day} {hour}").choice([0.0, 0.2, 0.3])


def _slot(cafe: str, day: date, hour: int) -> str:
    return f"{cafe}-{day}-{hour:02}"


def _local(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), CALENDAR.zone).astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
