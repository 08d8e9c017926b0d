"""Whether to retrain now."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.pipeline import RetrainPolicy
from lifecycle.retraining import Cause, Retrain, State, Wait, decide

TODAY = date(2013, 9, 20)
POLICY = RetrainPolicy(cool_down_days=14)
CHECK = Cause("check", "AUC fell from 0.76 to 0.70", TODAY, "check-1")
SCHEDULE = Cause("schedule", "first of the month", TODAY, "tick-1")
MANUAL = Cause("manual", "asked for by a person", TODAY, "request-1")

causes = st.lists(
    st.builds(
        Cause,
        kind=st.sampled_from(["check", "schedule", "labels", "manual"]),
        detail=st.just("because"),
        day=st.dates(TODAY - timedelta(days=40), TODAY),
        evidence=st.sampled_from([f"evidence-{n}" for n in range(8)]),
    ),
    max_size=6,
)


def days_ago(days: int, **state: bool) -> State:
    return State(last_training_day=TODAY - timedelta(days=days), **state)


def test_a_failed_check_retrains_the_model_of_today() -> None:
    assert decide([CHECK], days_ago(30), POLICY, TODAY) == Retrain(CHECK, TODAY)


def test_before_the_first_training_nothing_cools_down() -> None:
    assert isinstance(decide([CHECK], State(), POLICY, TODAY), Retrain)


def test_without_a_cause_nothing_happens() -> None:
    assert decide([], State(), POLICY, TODAY) == Wait("Nothing asks for a retraining.")


def test_a_check_waits_for_the_cool_down_and_is_told_until_when() -> None:
    decision = decide([CHECK], days_ago(13), POLICY, TODAY)
    assert isinstance(decision, Wait)
    assert "Cooling down until 2013-09-21" in decision.reason
    assert CHECK.detail in decision.reason
    assert isinstance(decide([CHECK], days_ago(14), POLICY, TODAY), Retrain)


def test_a_schedule_and_a_person_do_not_wait_for_the_cool_down() -> None:
    for cause in (SCHEDULE, MANUAL):
        assert decide([CHECK, cause], days_ago(2), POLICY, TODAY) == Retrain(cause, TODAY, also=(CHECK,))


def test_one_training_at_a_time_whoever_asks() -> None:
    decision = decide([CHECK, MANUAL], days_ago(30, running=True), POLICY, TODAY)
    assert decision == Wait("A training is under way; waiting: asked for by a person.")


def test_a_person_is_named_before_a_check_and_a_check_before_the_calendar() -> None:
    assert decide([SCHEDULE, CHECK, MANUAL], State(), POLICY, TODAY) == Retrain(MANUAL, TODAY, (CHECK, SCHEDULE))


def test_a_check_of_a_day_that_was_trained_on_counts_as_answered() -> None:
    late = Cause("check", "recomputed report of last month", TODAY - timedelta(days=30), "check-0")
    assert decide([late], days_ago(20), POLICY, TODAY) == Wait("Everything that asked so far has been answered.")


@given(causes, st.integers(0, 40), st.integers(0, 30))
def test_no_cause_is_ever_answered_twice(asked: list[Cause], trained: int, later: int) -> None:
    state = days_ago(trained)
    first = decide(asked, state, POLICY, TODAY)
    if isinstance(first, Retrain):
        assert len(set(first.evidence)) == len(first.evidence)
        done = State(last_training_day=state.last_training_day, handled=frozenset(first.evidence))
        again = decide(asked, done, POLICY, TODAY + timedelta(days=later))
        assert isinstance(again, Wait)
        trained_since = State(last_training_day=first.day)
        assert isinstance(decide(asked, trained_since, POLICY, TODAY + timedelta(days=later)), Wait)


@given(causes, st.integers(0, 40))
def test_while_cooling_down_only_people_and_calendars_start_a_training(asked: list[Cause], trained: int) -> None:
    decision = decide(asked, days_ago(trained), POLICY, TODAY)
    if isinstance(decision, Retrain) and trained < POLICY.cool_down_days:
        assert decision.cause.kind in ("manual", "schedule")


@given(causes, st.randoms())
def test_the_order_in_which_causes_arrive_does_not_matter(asked: list[Cause], random: object) -> None:
    distinct = list({cause.evidence: cause for cause in asked}.values())
    shuffled = distinct.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(distinct, days_ago(20), POLICY, TODAY) == decide(shuffled, days_ago(20), POLICY, TODAY)
