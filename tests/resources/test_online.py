"""Reading online: what is stored, how old it is, and that stale, missing and future values are never served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.redis_server import NOT_INSTALLED, RedisServer, installed, redis_server
from feature_repo.objects import view_table
from feature_repo.online_backend import OnlineStoreUnavailable, open_backend
from lifecycle.features import Aggregate, Feature, LatestView, Lookup, View
from lifecycle.pipeline import Pipeline
from resources.feature_store import FeatureStore
from resources.lake import Lake
from resources.online import OnlineReader
from resources.online_writing import OnlineWriter
from tests.tiny import FIRST_DAY, TINY, variant

HOUR = timedelta(hours=1)
CLOSE = TINY.calendar.close(FIRST_DAY)
ORDERS, SEATS = TINY.views
BACKENDS = ["sqlite", pytest.param("redis", marks=pytest.mark.skipif(not installed(), reason=NOT_INSTALLED))]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/online.db"
        return
    server: RedisServer = request.getfixturevalue("redis")
    yield server.uri
    _empty(server.uri)


def _empty(uri: str) -> None:
    if uri.startswith("redis"):
        from redis import Redis

        Redis.from_url(uri).flushall()
    else:
        open_backend(uri, 2.0).close()
        for file in Path(uri.removeprefix("sqlite://")).parent.glob("online.db*"):
            file.unlink()


@pytest.fixture
def store(uri: str, tmp_path: Path) -> FeatureStore:
    """A lake with feature rows of the first day, and an empty online store."""
    lake = Lake(str(tmp_path / "lake"))
    day = pl.lit(FIRST_DAY).alias("day")
    orders = _rows(ORDERS, harbour=CLOSE - 2 * HOUR, market=CLOSE - HOUR).with_columns(day)
    seats = _rows(SEATS, harbour=CLOSE - 10 * HOUR, market=CLOSE - 10 * HOUR).with_columns(day)
    lake.write(view_table(TINY, ORDERS), orders, FIRST_DAY, FIRST_DAY)
    lake.write(view_table(TINY, SEATS), seats, FIRST_DAY, FIRST_DAY)
    return FeatureStore(tmp_path, lake, uri)


def _rows(view: View, value: float = 5.0, created: datetime | None = None, **moments: datetime) -> pl.DataFrame:
    """A row for each café as of a moment, all features of the same value."""
    types = {"int": pl.Int64, "float": pl.Float64, "string": pl.String}
    moment = pl.Datetime("us", "UTC")
    frame = pl.DataFrame(
        {"cafe": list(moments), "event_timestamp": list(moments.values())},
        schema={"cafe": pl.String, "event_timestamp": moment},
    )
    return frame.with_columns(
        pl.lit(created, dtype=moment).fill_null(pl.col("event_timestamp")).alias("created"),
        *(pl.lit(value).cast(types[feature.type]).alias(feature.name) for feature in view.features),
    )


def _request(cafe: str | None) -> dict[str, object]:
    return {"cafe": cafe, "staff": 3, "discount": 0.2, "starts_at": CLOSE + 6 * HOUR}


def test_a_request_gets_all_inputs_of_the_model_and_the_age_of_what_was_stored(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    answers = store.online(TINY, [_request("market"), _request("harbour"), _request("market")], CLOSE)
    assert len(answers) == 3
    market, harbour, _ = answers
    assert list(market.features) == [feature.name for feature in TINY.features]
    assert market.features["cafe_orders_orders_mean_24h"] == 5.0
    assert (market.features["staff"], market.features["hour"]) == (3.0, 10.0)
    assert market.ages == {"cafe_orders": HOUR, "cafe_seats": 10 * HOUR}
    assert harbour.ages == {"cafe_orders": 2 * HOUR, "cafe_seats": 10 * HOUR}
    assert set(market.status.values()) == {"present"}
    assert answers.frame.height == 3
    assert answers[:2] == [market, harbour]


def test_a_value_older_than_its_ttl_is_stale_and_not_given(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    at_ttl, after = (CLOSE - HOUR + ORDERS.ttl + more for more in (timedelta(), timedelta(microseconds=1)))
    (fresh,), (stale,) = (store.online(TINY, [_request("market")], as_of) for as_of in (at_ttl, after))
    assert fresh.status["cafe_orders"] == "present", "exactly the ttl counts, as offline"
    assert stale.status == {"cafe_orders": "stale", "cafe_seats": "present"}
    assert stale.ages["cafe_orders"] == ORDERS.ttl + timedelta(microseconds=1)
    assert stale.views["cafe_orders"].event_timestamp == CLOSE - HOUR
    assert stale.features["cafe_orders_orders_mean_24h"] is None
    assert stale.features["seats"] == 5.0


def test_an_unknown_or_missing_key_is_marked_missing(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    for answer in store.online(TINY, [_request("moon"), _request(None), _request("")], CLOSE):
        assert set(answer.status.values()) == {"missing"}
        assert answer.ages == {"cafe_orders": None, "cafe_seats": None}
        assert answer.features["seats"] is None
        assert answer.features["staff"] == 3.0


def test_a_row_of_after_the_moment_asked_about_is_missing_and_not_served(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    (answer,) = store.online(TINY, [_request("market")], CLOSE - 3 * HOUR)
    row = answer.views["cafe_orders"]
    assert (row.status, row.age, row.event_timestamp) == ("missing", None, CLOSE - HOUR)
    assert answer.features["cafe_orders_count_24h"] is None
    assert answer.status["cafe_seats"] == "present"


def test_nobody_asks_for_nothing(store: FeatureStore) -> None:
    assert len(store.online(TINY, [], CLOSE)) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"starts_at": datetime(2024, 2, 2, 10)}, "'starts_at': 2024-02-02 10:00:00 has no time zone"),  # noqa: DTZ001
        ({"starts_at": "2024-02-02T10:00:00Z"}, "'starts_at' must be of type timestamp, found '2024"),
        ({"staff": 2.5}, "'staff' must be of type int, found 2.5"),
        ({"staff": 2**70}, "cannot be read"),
        ({"discount": "0.2"}, "'discount' must be of type float"),
        ({"cafe": 7}, "'cafe' must be of type string, found 7"),
    ],
)
def test_a_request_of_other_types_is_refused(store: FeatureStore, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.online(TINY, [_request("market"), _request("market") | changed], CLOSE)


def test_a_request_that_lacks_a_column_or_a_moment_without_zone_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ValueError, match=r"lacks 'staff'; it must bring \['cafe', 'staff', 'discount', 'starts_at'\]"):
        store.online(TINY, [{"cafe": "market"}], CLOSE)
    with pytest.raises(ValueError, match=r"as_of .* has no time zone"):
        store.online(TINY, [_request("market")], datetime(2024, 2, 2))  # noqa: DTZ001


# Refreshing


def test_a_store_that_was_emptied_is_filled_again_from_all_history(store: FeatureStore, uri: str) -> None:
    assert store.online_through(TINY) is None
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    assert store.online_through(TINY) == CLOSE
    _empty(uri)
    assert store.online_through(TINY) is None
    assert store.online(TINY, [_request("market")], CLOSE)[0].status["cafe_seats"] == "missing"
    store.refresh_online(TINY, CLOSE - HOUR, CLOSE)
    assert store.online(TINY, [_request("market")], CLOSE)[0].status["cafe_seats"] == "present"


def test_a_fact_that_came_late_is_in_and_one_that_has_not_come_yet_is_not(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    next_day = FIRST_DAY + timedelta(days=1)
    close = TINY.calendar.close(next_day)
    late = _rows(SEATS, 9.0, created=CLOSE + HOUR, harbour=CLOSE - 9 * HOUR, museum=CLOSE - 20 * HOUR)
    later = _rows(SEATS, 11.0, created=close, market=CLOSE - HOUR)
    rows = pl.concat([late, later]).with_columns(pl.lit(next_day).alias("day"))
    store.lake.write(view_table(TINY, SEATS), rows, next_day, next_day)

    cafes = [_request(cafe) for cafe in ("harbour", "museum", "market")]
    assert store.refresh_online(TINY, CLOSE, CLOSE + 2 * HOUR) == CLOSE + 2 * HOUR
    assert [answer.features["seats"] for answer in store.online(TINY, cafes, close)] == [9.0, 9.0, 5.0]
    store.refresh_online(TINY, CLOSE, close)
    assert [answer.features["seats"] for answer in store.online(TINY, cafes, close)] == [9.0, 9.0, 11.0]


def test_building_an_old_day_again_never_sets_the_store_back(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    writer = store._writer(TINY)
    writer.write(ORDERS, _rows(ORDERS, 8.0, market=CLOSE + HOUR))
    assert store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE - HOUR) == CLOSE
    (answer,) = store.online(TINY, [_request("market")], CLOSE + HOUR)
    assert answer.features["cafe_orders_orders_mean_24h"] == 8.0


def test_feast_reads_what_a_refresh_wrote(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    feast = store._feast(TINY)
    service = feast.get_feature_service(TINY.feature_service)
    found = feast.get_online_features(service, [{"cafe": "market"}, {"cafe": "moon"}]).to_dict()
    assert found["seats"] == [5, None]
    assert found["cafe_orders_orders_mean_7d"] == [5.0, None]
    assert feast.get_feature_view("cafe_orders__cafe_orders").most_recent_end_time == CLOSE


def test_rows_of_before_a_feature_was_declared_lack_it_until_the_next_refresh(store: FeatureStore) -> None:
    store.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
    grown_view = replace(ORDERS, aggregates=(*ORDERS.aggregates, Aggregate("count", (timedelta(hours=3),))))
    grown = variant(views=(grown_view, SEATS))
    (answer,) = FeatureStore(store.home, store.lake, store.online_uri).online(grown, [_request("market")], CLOSE)
    row = answer.views["cafe_orders"]
    assert (row.status, row.lacking) == ("present", ("cafe_orders_count_3h",))
    assert answer.features["cafe_orders_count_3h"] is None
    assert answer.features["cafe_orders_count_24h"] == 5.0

    again = FeatureStore(store.home, store.lake, store.online_uri)
    assert again.online_through(grown) is None, "the view as it is declared now is nowhere"
    day = pl.lit(FIRST_DAY).alias("day")
    rows = _rows(grown_view, market=CLOSE - HOUR).with_columns(day)
    store.lake.write(view_table(TINY, ORDERS), rows, FIRST_DAY, FIRST_DAY)
    again.refresh_online(grown, CLOSE, CLOSE)
    assert again.online(grown, [_request("market")], CLOSE)[0].views["cafe_orders"].lacking == ()


def test_a_value_of_another_type_than_declared_is_not_served(uri: str) -> None:
    def declared(kind: Any) -> tuple[Pipeline, LatestView]:
        view = LatestView("kind", ("cafe",), "orders", (("cafe", Feature("kind", kind, "kind of café")),), "Kinds.")
        return variant(views=(view,)), view

    text, text_view = declared("string")
    number, number_view = declared("float")
    backend = open_backend(uri, 2.0)
    OnlineWriter(text, backend, "p").write(text_view, _rows(text_view, "3", market=CLOSE))  # type: ignore[arg-type]
    OnlineWriter(number, backend, "p").write(number_view, _rows(number_view, 3.0, museum=CLOSE))
    columns = {"cafe": ["market", "museum"]}
    for pipeline, served in ((text, ["3", None]), (number, [None, 3.0])):
        rows = OnlineReader(pipeline, backend, "p").read(columns, CLOSE)["kind"]
        assert [row.values["kind"] for row in rows] == served
        assert [row.lacking for row in rows] == [("kind",) if value is None else () for value in served]


def test_a_key_that_is_looked_up_is_found_before_what_it_leads_to(uri: str) -> None:
    where = LatestView(
        "where",
        ("cafe",),
        "seats",
        (("cafe", Feature("district", "string", "where it is")),),
        "Where cafés are.",
        ttl=HOUR,
    )
    # The weather of a district, in a view whose key no request brings.
    district = replace(TINY.table("seats"), contract=replace(TINY.table("seats").contract, key=("cafe",)))
    weather = LatestView(
        "weather",
        ("district",),
        "seats",
        (
            (
                "seats",
                Feature("rain", "float", "mm"),
            ),
        ),
        "Rain.",
    )
    pipeline = variant(
        tables=(*TINY.tables[:2], district),
        views=(weather, where),
        lookups=(Lookup("district", view="where", feature="district"),),
    )
    backend = open_backend(uri, 2.0)
    writer = OnlineWriter(pipeline, backend, "p")
    writer.write(where, _rows(where, "old town", market=CLOSE, museum=CLOSE - 2 * HOUR))  # type: ignore[arg-type]
    writer.write(weather, _rows(weather, 4.0, **{"old town": CLOSE}).rename({"cafe": "district"}))
    requests = [_request("market"), _request("museum"), _request("moon")]
    answers = OnlineReader(pipeline, backend, "p").answer(requests, CLOSE)
    assert [answer.features["rain"] for answer in answers] == [4.0, None, None]
    assert [answer.status["where"] for answer in answers] == ["present", "stale", "missing"]
    assert answers.frame["district"].to_list() == ["old town", None, None]
    assert "district" not in answers[0].features


@pytest.mark.skipif(not installed(), reason=NOT_INSTALLED)
def test_a_redis_that_goes_away_is_told_at_once_and_serves_again_when_it_is_back(store: FeatureStore) -> None:
    with redis_server() as server:
        mine = FeatureStore(store.home, store.lake, server.uri)
        mine.refresh_online(TINY, TINY.calendar.open(FIRST_DAY), CLOSE)
        assert mine.online(TINY, [_request("market")], CLOSE)[0].status["cafe_seats"] == "present"
        server.kill()
        for call in (
            lambda: mine.online(TINY, [_request("market")], CLOSE),
            lambda: mine.refresh_online(TINY, CLOSE, CLOSE + HOUR),
        ):
            with pytest.raises(OnlineStoreUnavailable, match=f"redis://127.0.0.1:{server.port}/0 fails"):
                call()
        server.start()
        mine.refresh_online(TINY, CLOSE, CLOSE + HOUR)
        assert mine.online(TINY, [_request("market")], CLOSE)[0].status["cafe_seats"] == "present"


def test_now_is_the_moment_when_none_is_named(store: FeatureStore) -> None:
    now = datetime.now(UTC)
    store._writer(TINY).write(SEATS, _rows(SEATS, market=now - HOUR))
    (answer,) = store.online(TINY, [_request("market")])
    age = answer.ages["cafe_seats"]
    assert age is not None
    assert HOUR <= age < HOUR + timedelta(minutes=5)
