"""Whatever becomes available after the prediction time may be anything: no feature of that moment changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from feature_repo.objects import view_table
from lifecycle.business_day import business_day
from lifecycle.proofs import recompute
from lifecycle.windows import feature_rows
from resources.feature_store import FeatureStore
from resources.lake import Lake
from tests.deliveries import (
    CALENDAR,
    COURIERS,
    DELIVERIES,
    FIRST_DAY,
    SHOPS,
    VIEWS,
    Entry,
    Order,
    Visit,
    features_at,
    orders,
    register,
    requests,
    visits,
    with_known_at,
)

DAYS = 5
FEATURES = [feature.name for feature in DELIVERIES.features]

# Few keys, values and moments, so that facts meet: same shop, same minute, corrections of one another.
moment = st.one_of(st.integers(0, DAYS * 24 * 60 - 1), st.integers(0, DAYS * 24 - 1).map(lambda hour: hour * 60))
late = st.sampled_from([0, 0, 0, 1, 90, 60 * 30])
visit = st.builds(
    Visit,
    shop=st.sampled_from(SHOPS),
    courier=st.sampled_from([*COURIERS, None]),
    minutes=st.one_of(st.none(), st.integers(0, 60_000).map(lambda n: n / 1000)),
    left=moment,
    late=late,
)
entry = st.builds(Entry, courier=st.sampled_from(COURIERS), speed=st.integers(5, 40), noted=moment, late=late)
order = st.builds(Order, shop=st.sampled_from(SHOPS), basket=st.just(12.5), asked=moment)


Facts = dict[str, pl.DataFrame]


@st.composite
def two_futures(draw: st.DrawFn) -> tuple[Order, Facts, Facts]:
    """A request and twice the facts, equal in what was available when it was asked about and in nothing else."""
    asked = draw(order)
    worlds: list[Facts] = [{"orders": orders([asked])} for _ in range(2)]
    for table, fact, frame in (("visits", visit, visits), ("register", entry, register)):
        past = [one for one in draw(st.lists(fact, max_size=14)) if _available(one) <= asked.asked]
        for world in worlds:
            rows = list(past)
            for one in draw(st.lists(fact, max_size=6)):
                if past and draw(st.booleans()):  # a late correction of what is known
                    one = _about(one, draw(st.sampled_from(past)))
                wait = max(_available(one), asked.asked + draw(st.integers(1, 3000))) - _known(one)
                rows.insert(draw(st.integers(0, len(rows))), one._replace(late=wait))
            world[table] = frame(rows)
    return asked, *worlds


def _about(fact: Visit | Entry, other: Visit | Entry) -> Visit | Entry:
    """The fact, told of the entity and the minute of another."""
    if isinstance(fact, Visit) and isinstance(other, Visit):
        return fact._replace(shop=other.shop, left=other.left)
    return fact._replace(courier=other.courier, noted=_known(other))  # type: ignore[call-arg]


def _known(fact: Visit | Entry) -> int:
    return fact.left if isinstance(fact, Visit) else fact.noted


def _available(fact: Visit | Entry) -> int:
    return _known(fact) + fact.late


@given(two_futures())
@settings(max_examples=60, deadline=None)
def test_no_future_changes_a_feature_of_the_moment(drawn: tuple[Order, Facts, Facts]) -> None:
    asked, one, other = drawn
    rows = requests([asked])

    assert_frame_equal(features_at(rows, one), features_at(rows, other), check_exact=True)


@given(two_futures())
@settings(max_examples=60, deadline=None)
def test_a_world_that_ends_at_the_moment_has_the_features_that_were_known_in_the_whole_one(drawn) -> None:
    asked, one, _ = drawn
    rows = requests([asked])
    again = recompute(DELIVERIES, rows.select("order_id", "event_timestamp"), _lazy(one))

    assert again.announced.all()
    assert_frame_equal(again.rows.select(FEATURES), features_at(rows, one).select(FEATURES), check_exact=True)


def test_a_retrieval_that_ignores_when_facts_came_is_found_out() -> None:
    """The property is not empty: it fails where it should."""

    @given(two_futures())
    @settings(max_examples=200, deadline=None, database=None, phases=[Phase.generate])
    def no_future_changes_a_feature(drawn) -> None:
        asked, *worlds = drawn
        known = [
            {name: _as_if_never_late(DELIVERIES.table(name).known_at, facts) for name, facts in world.items()}
            for world in worlds
        ]
        first, second = (features_at(requests([asked]), facts) for facts in known)
        assert first.equals(second)

    with pytest.raises(AssertionError):
        no_future_changes_a_feature()


def test_a_late_correction_of_the_same_minute_takes_nothing_away_before_it_comes() -> None:
    """Both are facts about one minute: built in one run or day by day, the first holds until the second comes."""
    facts = {
        "visits": visits([Visit("north", "ann", 10.0, left=60), Visit("north", "bo", 20.0, left=60, late=120)]),
        "register": register([]),
        "orders": orders([]),
    }
    before, after = requests([Order("north", 1.0, asked=90), Order("north", 1.0, asked=200)]).partition_by("order_id")

    assert features_at(before, facts)["last_minutes"].to_list() == [10.0]
    assert features_at(after, facts)["last_minutes"].to_list() == [20.0]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    home = tmp_path_factory.mktemp("deliveries")
    return FeatureStore(home, Lake(str(home / "lake")))


@given(drawn=st.lists(two_futures(), min_size=12, max_size=12))
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
def test_no_future_changes_what_the_real_offline_store_says(store: FeatureStore, drawn) -> None:
    """Twelve stories at a time, each with shops and couriers of its own."""
    rows = pl.concat(_of_story(requests([asked]), number) for number, (asked, *_) in enumerate(drawn))
    answers = []
    for place in (1, 2):
        worlds = [story[place] for story in drawn]
        facts = {
            name: pl.concat(_of_story(world[name], number) for number, world in enumerate(worlds))
            for name in ("visits", "register")
        }
        _build(store.lake, facts)
        answers.append(store.retrieve(DELIVERIES, rows))

    assert_frame_equal(answers[0], answers[1], check_exact=True)
    expected = [features_at(requests([asked]), one) for asked, one, _ in drawn]
    assert_frame_equal(answers[0].select(FEATURES), pl.concat(expected).select(FEATURES), check_exact=True)


def _of_story(frame: pl.DataFrame, number: int) -> pl.DataFrame:
    names = [name for name in ("order_id", "shop", "courier") if name in frame.columns]
    return frame.with_columns(pl.col(names) + f"-{number}")


def _build(lake: Lake, facts: Facts) -> None:
    """The feature tables of some facts, of all days at once; the moment the first day opens is of the one before."""
    first, last = FIRST_DAY - timedelta(days=1), FIRST_DAY + timedelta(days=20)
    for view in VIEWS:
        rows = feature_rows(view, with_known_at(view, facts[view.table]), CALENDAR.open(first), CALENDAR.close(last))
        days = rows.with_columns(business_day("created", CALENDAR).alias("day"))
        lake.write(view_table(DELIVERIES, view), days, first, last)


def _as_if_never_late(known_at: str, facts: pl.DataFrame) -> pl.DataFrame:
    return facts.with_columns(pl.col(known_at).alias("available_at"))


def _lazy(facts: Mapping[str, pl.DataFrame]) -> dict[str, pl.LazyFrame]:
    return {name: frame.lazy() for name, frame in facts.items()}
