"""The catalogue page: what it says of every feature, and that it can be read without a network."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from assets.feature_catalogue import _catalogue, _fresh, _metadata
from assets.stage import key
from feature_repo.objects import view_table
from lifecycle.calendar import days_between
from lifecycle.catalogue import Catalogue, Entry, Use, User, coverage, distribution, uses
from lifecycle.definitions import definitions, fingerprints, record
from lifecycle.derived import ratio
from lifecycle.features import Derived, Feature
from resources.catalogue import page, write_catalogue
from resources.lake import Lake
from resources.registry import Registry
from tests.tiny import CAFES, FIRST_DAY, TINY, variant

DAY = FIRST_DAY + timedelta(days=20)
CLOSE = TINY.calendar.close(DAY)
PER_SEAT = Derived(Feature("per_seat", "float", "orders <per> seat"), ratio("cafe_orders_count_24h", "seats"))
PIPELINE = variant(derived=(*TINY.derived, PER_SEAT))
PRESENT = {"seats": 1.0, "hour": 1.0, "cafe_orders_orders_mean_24h": 0.75, "discount": 0.0}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Forecasts and feature rows of three weeks; a register that was delivered once, at the beginning."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    orders, seats = PIPELINE.views
    days = days_between(FIRST_DAY, DAY)
    forecasts = pl.concat([_forecasts(day) for day in days])
    lake.write(f"{PIPELINE.name}/batch_predictions", forecasts, days[0], days[-1])
    lake.write(view_table(PIPELINE, orders), pl.concat([_rows(orders, day) for day in days]), days[0], days[-1])
    lake.write(view_table(PIPELINE, seats), _rows(seats, FIRST_DAY), FIRST_DAY, FIRST_DAY)
    return lake


def _rows(view: object, day: date) -> pl.DataFrame:
    moment = PIPELINE.calendar.close(day) - timedelta(hours=2)
    names = [feature.name for feature in view.features]  # type: ignore[attr-defined]
    return pl.DataFrame({"cafe": list(CAFES), "event_timestamp": moment, "created": moment}).with_columns(
        *(pl.lit(4.0).alias(name) for name in names), pl.lit(day).alias("day")
    )


def _forecasts(day: date) -> pl.DataFrame:
    """Eight a day; those before the last fortnight are far off, and must not be looked at."""
    value = 50.0 if day > DAY - timedelta(days=14) else 9999.0
    columns = {name: [value + row if row < share * 8 else None for row in range(8)] for name, share in PRESENT.items()}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64)).with_columns(pl.lit(day).alias("day"))


@pytest.fixture(scope="module")
def catalogue(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    home = tmp_path_factory.mktemp("mlflow")
    return _catalogue(PIPELINE, DAY, lake, Registry(f"sqlite:///{home}/mlflow.db", str(home)))


def _entry(catalogue: Catalogue, name: str) -> Entry:
    return next(entry for entry in catalogue.entries if entry.name == name)


def test_every_feature_is_in_it_with_its_owner_and_definition(catalogue: Catalogue) -> None:
    assert [entry.name for entry in catalogue.entries] == [feature.name for feature in PIPELINE.features]
    assert {entry.owner for entry in catalogue.entries} == {"team:cafes"}
    assert [entry.definition for entry in catalogue.entries] == list(definitions(PIPELINE).values())


def test_presence_is_of_the_last_fortnights_forecasts(catalogue: Catalogue) -> None:
    mean = _entry(catalogue, "cafe_orders_orders_mean_24h")

    assert (mean.rows, mean.coverage) == (14 * 8, 0.75)
    assert mean.distribution.labels == ("50", "55")
    assert sum(mean.distribution.counts) == 14 * 6
    assert _entry(catalogue, "discount").coverage == 0
    assert _entry(catalogue, "discount").distribution.counts == ()


def test_where_no_forecast_has_a_feature_its_own_rows_are_looked_at(catalogue: Catalogue) -> None:
    count = _entry(catalogue, "cafe_orders_count_24h")
    assert (count.rows, count.coverage) == (14 * len(CAFES), 1.0)


def test_freshness_is_the_age_of_the_newest_row_at_the_close(catalogue: Catalogue) -> None:
    assert _entry(catalogue, "cafe_orders_orders_mean_24h").age == timedelta(hours=2)
    assert _entry(catalogue, "seats").age == timedelta(days=20, hours=2), "read from the log, however long ago"
    assert _entry(catalogue, "per_seat").age == timedelta(days=20, hours=2), "as old as the oldest it is made from"
    assert _entry(catalogue, "hour").age is None
    earlier = PIPELINE.calendar.close(FIRST_DAY)
    assert _entry(catalogue, "seats").newest == earlier - timedelta(hours=2)


def test_a_feature_whose_newest_row_has_expired_is_called_stale(catalogue: Catalogue) -> None:
    asset = key(PIPELINE, "feature_catalogue")
    old = replace(_entry(catalogue, "seats"), ttl=timedelta(days=7))
    stale = _fresh(asset, replace(catalogue, entries=(old,)))

    assert _fresh(asset, catalogue).passed
    assert not stale.passed
    assert stale.description == "all values are too old: seats (20 d old, holds 7 d)"


def test_the_page_needs_no_network_and_is_well_formed(catalogue: Catalogue) -> None:
    html = page(catalogue)

    assert not re.search(r"(src|href)=|url\(|@import|https?://", html)
    opened: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
            if tag not in ("meta", "br", "input"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Parser().feed(html)
    assert opened == []
    assert html.count("<tr>") == 1 + len(PIPELINE.features)
    assert "orders &lt;per&gt; seat" in html
    assert "<svg" in html


def test_what_is_written_is_never_set_back_by_an_older_day(catalogue: Catalogue, tmp_path: Path) -> None:
    path = write_catalogue(catalogue, tmp_path / "reports" / "features.html")
    write_catalogue(replace(catalogue, day=DAY - timedelta(days=1)), path)

    told = json.loads(path.with_suffix(".json").read_text())
    assert told["day"] == str(DAY)
    seats = next(entry for entry in told["entries"] if entry["definition"]["name"] == "seats")
    assert seats["age_seconds"] == timedelta(days=20, hours=2).total_seconds()
    assert seats["coverage"] == 1.0
    assert sorted(file.name for file in path.parent.iterdir()) == ["features.html", "features.json"]


def test_the_asset_shows_the_table_too(catalogue: Catalogue) -> None:
    text = _metadata(catalogue, Path("features.html"))["catalogue"].value
    assert "| cafe_orders_orders_mean_24h | float | cafe | 2 h | 31 d | 75.0% |  | team:cafes |  |" in text.replace(
        "120 min", "2 h"
    )


def test_who_uses_a_feature_is_told_by_its_fingerprint() -> None:
    kept = fingerprints(record(TINY))
    users = [
        User(3, "champion", ("hour", "seats"), kept),
        User(2, "", ("seats",), kept | {"seats": "00000000"}),
        User(1, "", ("seats",), {}),
        User(0, "", ("hour",), kept),
    ]
    found = uses("seats", definitions(TINY)["seats"], users)

    assert found == (Use(3, "champion", True), Use(2, "", False), Use(1, "", None))
    assert list(map(str, found)) == ["v3 champion", "v2 (another definition)", "v1"]


@pytest.mark.parametrize(
    ("values", "labels", "total"),
    [
        (pl.Series([None, None], dtype=pl.Float64), (), 0),
        (pl.Series([3, 3, 3]), ("3", "3"), 3),
        (pl.Series([1.0, float("nan"), float("inf"), 2.0]), ("1.005", "1.995"), 2),
        (pl.Series(["b", None, "a", "b"]), ("b", "a"), 3),
        (pl.Series([None], dtype=pl.Null), (), 0),
    ],
)
def test_any_column_has_a_distribution(values: pl.Series, labels: tuple[str, ...], total: int) -> None:
    found = distribution(values)
    assert (found.labels, sum(found.counts)) == (labels, total)


def test_no_rows_have_no_presence() -> None:
    assert coverage(pl.Series([], dtype=pl.Float64)) is None
    assert datetime(2024, 2, 22, 3, tzinfo=UTC) == CLOSE
