"""Window aggregates against a naive reference, and days built alone against days built together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.features import Aggregate, Feature, LatestView, WindowView
from lifecycle.windows import feature_rows

START = datetime(2024, 2, 1, 3, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WINDOWS = (timedelta(hours=3), timedelta(hours=24))
VIEW = WindowView(
    "shop",
    ("shop",),
    "sales",
    (
        Aggregate("mean", WINDOWS, "amount"),
        Aggregate("sum", WINDOWS, "amount"),
        Aggregate("count", WINDOWS),
        Aggregate("mean", WINDOWS, "large", expression=lambda: pl.col("amount") >= 50),
    ),
    "Sales of a shop.",
)
SCHEMA = {
    "shop": pl.String(),
    "amount": pl.Float64(),
    "known_at": pl.Datetime("us", "UTC"),
    "available_at": pl.Datetime("us", "UTC"),
}

# (shop, amount or missing, minutes after the start it became known, minutes until it reached us)
fact = st.tuples(
    st.sampled_from(["a", "b"]),
    st.one_of(st.none(), st.integers(-100_000, 100_000).map(lambda n: n / 1000)),
    st.integers(0, 4 * 24 * 60),
    st.sampled_from([0, 0, 0, 0, 90, 60 * 30]),
)


def _facts(drawn: list[tuple[str, float | None, int, int]]) -> pl.DataFrame:
    rows = [
        (shop, amount, START + known * MINUTE, START + (known + late) * MINUTE) for shop, amount, known, late in drawn
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _naive(facts: pl.DataFrame, shop: str, tick: datetime) -> dict[str, float | int | None]:
    """The same aggregates, fact by fact."""
    answer: dict[str, float | int | None] = {}
    for window, label in zip(WINDOWS, ("3h", "24h"), strict=True):
        inside = [
            row["amount"]
            for row in facts.iter_rows(named=True)
            if row["shop"] == shop and tick - window < row["known_at"] and row["available_at"] <= tick
        ]
        values = [amount for amount in inside if amount is not None]
        answer[f"shop_amount_mean_{label}"] = sum(values) / len(values) if values else None
        answer[f"shop_amount_sum_{label}"] = sum(values)
        answer[f"shop_count_{label}"] = len(inside)
        answer[f"shop_large_mean_{label}"] = sum(v >= 50 for v in values) / len(values) if values else None
    return answer


@given(st.lists(fact, max_size=25))
@settings(max_examples=40, deadline=None)
def test_the_latest_row_at_every_hour_is_what_a_loop_over_the_facts_gives(drawn) -> None:
    facts = _facts(drawn)
    rows = feature_rows(VIEW, facts, START - HOUR, START + timedelta(days=6))
    names = [feature.name for feature in VIEW.features]
    for shop in ("a", "b"):
        own = rows.filter(pl.col("shop") == shop)
        stamps = own["event_timestamp"].to_list()
        values = own.select(names).rows(named=True)
        for hours in range(0, 6 * 24, 5):
            tick = START + hours * HOUR
            past = [value for stamp, value in zip(stamps, values, strict=True) if stamp <= tick]
            expected = _naive(facts, shop, tick)
            if not past:  # no fact has reached us yet
                assert expected["shop_count_24h"] == 0
                continue
            for name in names:
                assert past[-1][name] == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-6))


@given(st.lists(fact, max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_days_built_alone_have_the_bytes_of_days_built_together(drawn, rng) -> None:
    """Each day sees only the facts that reached us by its close, reaching back no further than it must."""
    facts, day, days = _facts(drawn), timedelta(days=1), 6
    whole = feature_rows(VIEW, facts, START, START + days * day)
    alone = []
    for n in range(days):
        opens, closes = START + n * day, START + (n + 1) * day
        seen = facts.filter((pl.col("available_at") <= closes) & (pl.col("available_at") > opens - VIEW.longest - HOUR))
        order = list(range(seen.height))
        rng.shuffle(order)
        alone.append(feature_rows(VIEW, seen[order], opens, closes))
    assert pl.concat(alone).equals(whole)


def test_values_change_at_full_hours_only_and_a_late_fact_enters_when_it_comes() -> None:
    facts = _facts([("a", 10.0, 30, 0), ("a", 30.0, 45, 150)])
    rows = feature_rows(VIEW, facts, START - HOUR, START + timedelta(days=2))

    means = dict(rows.select("event_timestamp", "shop_amount_mean_3h").rows())
    # Known at 03:45, delivered at 06:15: it counts at 07:00, when it is older than three hours already.
    assert means == {START + HOUR: 10.0, START + 4 * HOUR: None, START + 25 * HOUR: None}
    counts = dict(rows.select("event_timestamp", "shop_count_24h").rows())
    assert counts == {START + HOUR: 1, START + 4 * HOUR: 2, START + 25 * HOUR: 0}
    assert (rows["created"] == rows["event_timestamp"]).all()


def test_rows_without_their_key_are_of_no_entity() -> None:
    facts = _facts([("a", 1.0, 5, 0)]).with_columns(pl.lit(None, dtype=pl.String).alias("shop"))
    assert feature_rows(VIEW, facts, START - HOUR, START + HOUR).is_empty()


def test_the_latest_value_is_dated_by_the_fact_and_had_when_it_came() -> None:
    latest = LatestView("last", ("shop",), "sales", (("amount", Feature("last_amount", "int", "last")),), "Last sale.")
    facts = _facts([("a", 7.0, 10, 120), ("a", 8.0, 20, 0)])

    rows = feature_rows(latest, facts, START, START + 3 * HOUR)
    assert rows.select("event_timestamp", "created", "last_amount").rows() == [
        (START + 10 * MINUTE, START + 130 * MINUTE, 7),
        (START + 20 * MINUTE, START + 20 * MINUTE, 8),
    ]
    assert feature_rows(latest, facts, START, START + HOUR)["last_amount"].to_list() == [8]
