"""Facts pushed in the course of a day: they count once, at once, and as they will when the night has brought them."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from lifecycle.spine import build_spine
from pipelines import push as command
from pipelines.driver import Driver
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.pushed import as_text
from resources.settings import Settings
from resources.tables import pushed_table, validated_table
from tests.tiny import FIRST_DAY, TINY, day_rows, write_rows

LAST = FIRST_DAY + timedelta(days=4)
TODAY = LAST + timedelta(days=1)
CLOSE = TINY.calendar.close(LAST)
ORDERS = TINY.table("orders")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which the nights up to LAST have run."""
    home = tmp_path_factory.mktemp("built")
    driver = Driver(TINY, Settings(home=home))
    for number in range((LAST - FIRST_DAY).days + 1):
        driver.land(FIRST_DAY + timedelta(days=number))
    assert driver.build_history(FIRST_DAY, LAST).success
    _store(home).refresh_online(TINY, TINY.calendar.open(LAST), CLOSE)
    return home


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "home")


@pytest.fixture
def store(home: Path) -> FeatureStore:
    return _store(home)


def _store(home: Path) -> FeatureStore:
    return FeatureStore(home, Lake(str(home / "lake")))


def _orders(day: date, until: datetime) -> pl.DataFrame:
    """The orders of a day that are counted by a moment, as text."""
    rows = [{name: str(value) for name, value in row.items()} for row in day_rows(day)["orders"]]
    return pl.DataFrame(rows).filter(pl.col("counted_at").str.to_datetime(time_zone="UTC") <= until)


def _at(hour: int, minute: int = 0) -> datetime:
    return datetime(TODAY.year, TODAY.month, TODAY.day, hour, minute, tzinfo=UTC)


def _online(store: FeatureStore, now: datetime) -> dict[str, dict[str, object]]:
    requests = [
        {"cafe": cafe, "staff": 2, "discount": 0.0, "starts_at": now + timedelta(hours=1)}
        for cafe in ("harbour", "market", "museum", "station")
    ]
    return {
        str(request["cafe"]): answer.features
        for request, answer in zip(requests, store.online(TINY, requests, now), strict=True)
    }


def _offline(store: FeatureStore, now: datetime) -> dict[str, dict[str, object]]:
    """What training sees for the same requests, from the lake."""
    cafes = ["harbour", "market", "museum", "station"]
    moment = pl.Datetime("us", "UTC")
    spine = pl.DataFrame(
        {
            "cafe": cafes,
            "staff": [2] * 4,
            "discount": [0.0] * 4,
            "event_time": [now + timedelta(hours=1)] * 4,
            "event_timestamp": [now] * 4,
        },
        schema_overrides={"event_time": moment, "event_timestamp": moment},
    )
    names = [feature.name for feature in TINY.features]
    return dict(zip(cafes, store.retrieve(TINY, spine).select(names).to_dicts(), strict=True))


def _night(home: Path, rows: pl.DataFrame) -> None:
    """Lands the orders of TODAY and runs its night, without what comes after the online store."""
    driver = Driver(TINY, Settings(home=home))
    driver.land(TODAY)
    write_rows(home / "landing", "orders", f"{TODAY}.csv", rows.to_dicts())
    assert driver.build_history(TODAY, TODAY).success
    _store(home).refresh_online(TINY, TINY.calendar.open(TODAY), TINY.calendar.close(TODAY))


def test_pushed_values_are_those_that_training_will_see(store: FeatureStore, home: Path) -> None:
    now = _at(12, 30)
    before = _online(store, now)
    first = store.push(TINY, "orders", _orders(TODAY, _at(10, 30)), _at(10, 30))
    second = store.push(TINY, "orders", _orders(TODAY, now), now)
    assert (first.taken, first.duplicates, first.rejected.height) == (_orders(TODAY, _at(10, 30)).height, 0, 0)
    assert second.taken + second.duplicates == _orders(TODAY, now).height
    assert second.duplicates == first.taken, "what was pushed before is not counted again"
    assert second.kept == _orders(TODAY, now).height
    pushed = _online(store, now)
    assert pushed != before

    _night(home, _orders(TODAY, TINY.calendar.close(TODAY)))
    assert _offline(store, now) == pushed


def test_without_new_facts_values_move_on_with_the_hours(store: FeatureStore, home: Path) -> None:
    empty = _orders(TODAY, _at(0))
    assert empty.height == 0
    now = _at(11)
    report = store.push(TINY, "orders", empty, now)
    assert (report.taken, report.duplicates, report.rejected.height) == (0, 0, 0)
    online = _online(store, now)
    assert {row["cafe_orders_count_24h"] for row in online.values()} == {6.0}, "four hours of yesterday have left"
    _night(home, empty)
    assert _offline(store, now) == online


def test_the_night_takes_over_what_was_pushed(store: FeatureStore, home: Path) -> None:
    now = _at(12, 30)
    store.push(TINY, "orders", _orders(TODAY, now), now)
    _night(home, _orders(TODAY, TINY.calendar.close(TODAY)))
    tomorrow = TINY.calendar.close(TODAY) + timedelta(hours=2)
    report = store.push(TINY, "orders", _orders(TODAY, now), tomorrow)
    assert (report.taken, report.duplicates, report.kept, report.overdue) == (0, _orders(TODAY, now).height, 0, 0)
    assert not store.lake.read(pushed_table(TINY, "orders")).height, "the lake has them now"
    assert _online(store, tomorrow) == _offline(store, tomorrow)


def test_a_fact_that_the_night_did_not_bring_is_kept_and_told(store: FeatureStore, home: Path) -> None:
    now = _at(12, 30)
    pushed = _orders(TODAY, now)
    store.push(TINY, "orders", pushed, now)
    _night(home, _orders(TODAY, TINY.calendar.close(TODAY)).filter(pl.col("slot_id") != pushed["slot_id"][0]))
    tomorrow = TINY.calendar.close(TODAY) + timedelta(hours=2)
    report = store.push(TINY, "orders", pushed.head(0), tomorrow)
    assert (report.kept, report.overdue) == (1, 1)
    counts = {cafe: row["cafe_orders_count_24h"] for cafe, row in _online(store, tomorrow).items()}
    assert set(counts.values()) == {10.0}, "it counts all the same"


def test_rows_that_break_the_contract_come_back_with_reasons_and_the_others_count(store: FeatureStore) -> None:
    now = _at(12, 30)
    good = _orders(TODAY, now)
    yesterday = store.lake.read(validated_table(TINY, "orders"), LAST, LAST).head(1)
    repeated = as_text(ORDERS, yesterday).select(good.columns)
    rows = pl.concat(
        [
            good.head(2),
            good.head(1),  # twice the same
            good.head(1).with_columns(orders=pl.lit("499")),  # the same slot, saying otherwise
            good[2:3].with_columns(orders=pl.lit("many")),
            good[3:4].with_columns(cafe=pl.lit("moon")),
            _orders(TODAY, TINY.calendar.close(TODAY)).tail(1),  # counted this evening
            repeated,  # came with the night
            repeated.with_columns(orders=pl.lit("498")),
        ]
    )
    report = store.push(TINY, "orders", rows, now)
    assert (report.taken, report.duplicates, report.rejected.height) == (2, 2, 5)
    reasons = report.rejected.sort("_line")["reasons"].to_list()
    for reason, said in zip(
        reasons,
        ("one row per slot_id", "is not a int", "cafe in", "counted_at is after now", "one row per"),
        strict=True,
    ):
        assert said in reason
    assert store.push(TINY, "orders", good.head(0), now).kept == 2


def test_late_facts_count_from_the_close_of_the_day_as_in_training(store: FeatureStore) -> None:
    now = _at(12, 30)
    before = _online(store, now)
    late = _orders(LAST, CLOSE).head(1).with_columns(slot_id=pl.lit("harbour-special"))
    report = store.push(TINY, "orders", late, now)
    assert (report.taken, report.late) == (1, 1)
    store.push(TINY, "orders", late.head(0), now)
    rows = store.lake.read(pushed_table(TINY, "orders"))
    assert rows["available_at"].to_list() == [TINY.calendar.close(TODAY)]
    assert _online(store, now)["market"] != before["market"], "hours have passed"


def test_typed_rows_are_taken_as_their_text_would_be(store: FeatureStore) -> None:
    typed = store.lake.read(validated_table(TINY, "orders"), LAST, LAST)
    report = store.push(TINY, "orders", typed.select(ORDERS.contract.names), _at(12))
    assert (report.taken, report.duplicates, report.rejected.height) == (0, typed.height, 0)
    naive = typed.with_columns(pl.col("counted_at").dt.replace_time_zone(None))
    with pytest.raises(ValueError, match="'counted_at' of table 'orders' holds moments without time zone"):
        store.push(TINY, "orders", naive, _at(12))


def test_what_cannot_be_pushed_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    rows = _orders(TODAY, _at(12))
    with pytest.raises(ValueError, match=r"lack the columns \['orders'\]"):
        store.push(TINY, "orders", rows.drop("orders"), _at(12))
    with pytest.raises(KeyError, match="no table 'order'"):
        store.push(TINY, "order", rows, _at(12))
    with pytest.raises(ValueError, match="no time zone"):
        store.push(TINY, "orders", rows, datetime(2024, 2, 6, 12))  # noqa: DTZ001
    with pytest.raises(ValueError, match="the moment up to which the online store has"):
        store.push(TINY, "orders", rows, CLOSE - timedelta(hours=1))
    with pytest.raises(ValueError, match="materialize its asset online_features first"):
        _store(tmp_path / "new").push(TINY, "orders", rows, _at(12))


def test_the_command_says_what_became_of_a_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(home))
    monkeypatch.setattr(command, "_declared", lambda settings, name: TINY)  # noqa: ARG005
    file = tmp_path / "new.csv"
    rows = _orders(TODAY, _at(12))
    rows.write_csv(file)
    asked = ["cafe_orders", "orders", str(file), "--now", _at(12).isoformat()]
    assert command.main(asked) == 0
    assert f"{rows.height} facts taken, 0 duplicates, 0 rejected" in capsys.readouterr().out

    rows.with_columns(orders=pl.lit("-1")).write_csv(file)
    assert command.main(asked) == 1
    said = capsys.readouterr().out
    assert f"0 facts taken, 0 duplicates, {rows.height} rejected" in said
    assert "new.csv line 2: " in said

    with pytest.raises(SystemExit):
        command.main(["cafe_orders", "orders", str(tmp_path / "none.csv")])
    assert "none.csv" in capsys.readouterr().err


def test_the_spine_of_these_tests_is_what_the_pipeline_builds(store: FeatureStore) -> None:
    announced = store.lake.read(validated_table(TINY, "slots"), LAST, LAST)
    spine = build_spine(TINY, announced, TODAY, TODAY, TINY.spine.moments[:1])
    assert {"cafe", "staff", "discount", "event_time", "event_timestamp"} <= set(spine.columns)
