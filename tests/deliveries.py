"""A pipeline that declares every kind of feature: windows, latest values with a ttl or a need, a looked-up key, derived
ones. For tests of what the features of a moment are; nothing is trained on it.

What belongs here: its declaration, frames of its facts, and a point-in-time retrieval that is as plain as can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from lifecycle.business_day import business_day
from lifecycle.calendar import Calendar
from lifecycle.contract import Column, Contract, polars_type
from lifecycle.derived import derive, difference, hours_until_event, ratio
from lifecycle.features import Aggregate, Derived, Feature, LatestView, Lookup, View, WindowView
from lifecycle.pipeline import Label, Moment, Pipeline, Spine, Table
from lifecycle.windows import feature_rows

CALENDAR = Calendar("Europe/Berlin", close_hour=4)
FIRST_DAY = date(2024, 3, 25)
START = CALENDAR.open(FIRST_DAY)
END = START + timedelta(days=20)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SHOPS, COURIERS = ("north", "south"), ("ann", "bo")

SHOP = Column("shop", "string", "which shop")
COURIER = Column("courier", "string", "who brought it", required=False)

ORDERS = Table(
    "orders",
    Contract(
        (
            Column("order_id", "string", "which order"),
            SHOP,
            Column("basket", "float", "worth of the goods"),
            Column("due_at", "timestamp", "when it should arrive"),
            Column("placed_at", "timestamp", "when it was placed"),
        ),
        key=("order_id",),
    ),
    known_at="placed_at",
    description="Orders to be delivered.",
)
VISITS = Table(
    "visits",
    Contract(
        (
            Column("visit_id", "string", "which visit"),
            SHOP,
            COURIER,
            Column("minutes", "float", "how long it took", required=False),
            Column("left_at", "timestamp", "when the courier left the shop"),
        ),
        key=("visit_id",),
    ),
    known_at="left_at",
    description="Visits of couriers to shops.",
)
REGISTER = Table(
    "register",
    Contract(
        (
            Column("courier", "string", "who"),
            Column("speed", "int", "kilometres an hour"),
            Column("noted_at", "timestamp", "when it was noted"),
        ),
        key=("courier", "noted_at"),
    ),
    known_at="noted_at",
    description="The register of couriers.",
    cadence="occasional",
)

HOURS_3, HOURS_24 = timedelta(hours=3), timedelta(hours=24)
VIEWS: tuple[View, ...] = (
    WindowView(
        "shop_visits",
        ("shop",),
        "visits",
        (
            Aggregate("mean", (HOURS_3, HOURS_24), "minutes"),
            Aggregate("sum", (HOURS_24,), "minutes"),
            Aggregate("count", (HOURS_3,)),
            Aggregate("mean", (HOURS_24,), "slow", expression=lambda: pl.col("minutes") > 30),
        ),
        "Visits to a shop.",
        ttl=timedelta(days=2),
    ),
    LatestView(
        "last_visit",
        ("shop",),
        "visits",
        (("minutes", Feature("last_minutes", "float", "how long the last visit took")),),
        "The last visit to a shop.",
        ttl=timedelta(hours=6),
    ),
    LatestView(
        "last_courier",
        ("shop",),
        "visits",
        (("courier", Feature("who", "string", "who came last")),),
        "Who came last, as far as it is known.",
        ttl=timedelta(hours=12),
        needs=("courier",),
    ),
    WindowView(
        "courier_visits",
        ("courier",),
        "visits",
        (Aggregate("count", (HOURS_24,)), Aggregate("mean", (HOURS_24,), "minutes")),
        "Visits of a courier.",
    ),
    LatestView(
        "courier_register",
        ("courier",),
        "register",
        (("speed", Feature("speed", "int", "kilometres an hour")),),
        "How fast a courier is.",
    ),
)

DELIVERIES = Pipeline(
    name="deliveries",
    description="Will an order arrive on time?",
    owner="team:deliveries",
    calendar=CALENDAR,
    first_day=FIRST_DAY,
    last_day=None,
    tables=(ORDERS, VISITS, REGISTER),
    views=VIEWS,
    lookups=(Lookup("courier", "last_courier", "who"),),
    derived=(
        Derived(Feature("lead_hours", "float", "hours until it is due"), hours_until_event),
        Derived(Feature("basket", "float", "worth of the goods")),
        Derived(
            Feature("slowing", "float", "last visit beside the day's"),
            difference("last_minutes", "shop_visits_minutes_mean_24h"),
        ),
        Derived(Feature("slowing_by_lead", "float", "the same by lead time"), ratio("slowing", "lead_hours")),
    ),
    spine=Spine(
        table="orders",
        key=("order_id",),
        event_time="due_at",
        moments=(Moment("online", lead=timedelta(hours=2)),),
        columns=("shop", "basket"),
    ),
    label=Label("minutes", "visits", lambda: pl.col("minutes"), "Minutes."),
    task="regression",
)


class Visit(NamedTuple):
    """A visit; times in minutes: after the start when the courier left, and until we heard of it."""

    shop: str
    courier: str | None
    minutes: float | None
    left: int
    late: int = 0


class Entry(NamedTuple):
    """An entry of the register, with times as those of a visit."""

    courier: str
    speed: int
    noted: int
    late: int = 0


class Order(NamedTuple):
    """An order, and when it is asked about, in minutes after the start."""

    shop: str
    basket: float
    asked: int


def visits(rows: Sequence[Visit]) -> pl.DataFrame:
    times = [(row.left, row.late) for row in rows]
    columns = {
        "visit_id": [f"visit-{number}" for number in range(len(rows))],
        "shop": [row.shop for row in rows],
        "courier": [row.courier for row in rows],
        "minutes": [row.minutes for row in rows],
    }
    return _facts(VISITS, columns, times)


def register(rows: Sequence[Entry]) -> pl.DataFrame:
    columns = {"courier": [row.courier for row in rows], "speed": [row.speed for row in rows]}
    return _facts(REGISTER, columns, [(row.noted, row.late) for row in rows])


def orders(rows: Sequence[Order], announced_before: int = 60) -> pl.DataFrame:
    """The announcements of orders, so many minutes before they are asked about."""
    columns = {
        "order_id": [f"order-{number}" for number in range(len(rows))],
        "shop": [row.shop for row in rows],
        "basket": [row.basket for row in rows],
        "due_at": [START + row.asked * MINUTE + 2 * HOUR for row in rows],
    }
    return _facts(ORDERS, columns, [(row.asked - announced_before, 0) for row in rows])


def requests(rows: Sequence[Order]) -> pl.DataFrame:
    """The same orders as they are asked about."""
    asked = pl.Series("event_timestamp", [START + row.asked * MINUTE for row in rows], pl.Datetime("us", "UTC"))
    announced = orders(rows).with_columns(asked, pl.col("due_at").alias("event_time"), pl.lit("online").alias("moment"))
    return announced.drop("placed_at", "available_at", "day")


def features_at(asked: pl.DataFrame, facts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The features of requests: of every view all rows that facts make, of these the last one that could be had."""
    tables = {
        view.name: feature_rows(view, with_known_at(view, facts[view.table]), START - timedelta(days=30), END)
        for view in VIEWS
    }
    rows = []
    for request in asked.iter_rows(named=True):
        row = dict(request)
        for view in sorted(VIEWS, key=lambda view: "courier" in view.keys):
            row |= _seen(view, tables[view.name], row)
        rows.append(row | {"courier": row["who"]})
    kinds = {"float": pl.Float64(), "int": pl.Float64(), "string": pl.String()}
    types = {feature.name: kinds[feature.type] for feature in DELIVERIES.stored_features}
    frame = pl.DataFrame(rows, schema={**asked.schema, "courier": pl.String(), "who": pl.String(), **types})
    return derive(DELIVERIES.derived, frame.drop("who"))


def with_known_at(view: View, facts: pl.DataFrame) -> pl.DataFrame:
    return facts.with_columns(pl.col(DELIVERIES.table(view.table).known_at).alias("known_at"))


def _seen(view: View, table: pl.DataFrame, request: Mapping[str, object]) -> dict[str, object]:
    names = [feature.name for feature in view.features]
    asked = request["event_timestamp"]
    keys = [request["who"] if key == "courier" else request[key] for key in view.keys]
    past = [
        row
        for row in table.sort("event_timestamp", "created").iter_rows(named=True)
        if [row[key] for key in view.keys] == keys and max(row["event_timestamp"], row["created"]) <= asked
    ]
    if not past or (view.ttl and asked - past[-1]["event_timestamp"] > view.ttl):  # type: ignore[operator]
        return dict.fromkeys(names)
    return {name: past[-1][name] for name in names}


def _facts(table: Table, columns: Mapping[str, Sequence[object]], times: Sequence[tuple[int, int]]) -> pl.DataFrame:
    known = [START + known * MINUTE for known, _ in times]
    available = [START + (known + late) * MINUTE for known, late in times]
    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {**columns, table.known_at: known, "available_at": available},
        schema={column.name: polars_type(column) for column in table.contract.columns} | {"available_at": moment},
    ).with_columns(business_day("available_at", CALENDAR).alias("day"))
