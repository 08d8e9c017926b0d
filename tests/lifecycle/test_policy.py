"""From what a night knows to a training, or none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from lifecycle.pipeline import RetrainPolicy
from lifecycle.policy import Night, after_probe, causes, decide_night, needs_probe
from lifecycle.probe import Probe
from lifecycle.retraining import Cause, Retrain, State, Wait, decide

TODAY = date(2013, 9, 20)
TRAINED = State(last_training_day=TODAY - timedelta(days=30))
QUIET = Night(TODAY)
AILING = Night(TODAY, drift=("dep_hour moved",), performance=("AUC fell",), estimate=("AUC is estimated to fall",))
ALL = RetrainPolicy(new_labels=1000, every_days=30, on_estimate=True, probe_confidence=0.5)
NO_GAIN = Probe(-0.01, (-0.02, 0.0), 0.1, False, 1.2, 5000, 900, "A refit would raise the mean loss by 0.0100.")


def kinds(night: Night, policy: RetrainPolicy, state: State = TRAINED) -> set[str]:
    return {cause.kind for cause in causes("flights", night, state, policy)}


def test_by_default_drift_and_realised_performance_ask() -> None:
    assert kinds(AILING, RetrainPolicy()) == {"drift", "performance"}
    assert kinds(QUIET, RetrainPolicy()) == set()


def test_every_trigger_of_the_policy_asks() -> None:
    night = replace(AILING, new_labels=1000)
    assert kinds(night, ALL) == {"drift", "performance", "estimate", "labels", "schedule"}
    silent = RetrainPolicy(on_drift=False, on_performance=False)
    assert kinds(night, silent) == set()


def test_calendar_and_labels_ask_when_due_and_not_before() -> None:
    young = State(last_training_day=TODAY - timedelta(days=29))
    assert kinds(replace(QUIET, new_labels=999), ALL, young) == set()
    assert kinds(replace(QUIET, new_labels=1000), ALL, young) == {"labels"}
    assert kinds(QUIET, ALL) == {"schedule"}


def test_before_the_first_training_neither_calendar_nor_labels_ask() -> None:
    assert kinds(replace(QUIET, new_labels=10**6), ALL, State()) == set()


def test_realised_performance_is_the_cause_that_is_named() -> None:
    answer = decide_night("flights", AILING, TRAINED, ALL)
    assert isinstance(answer, Retrain)
    assert answer.cause.kind == "performance"
    assert {cause.kind for cause in answer.also} == {"drift", "estimate", "schedule"}


@pytest.mark.parametrize("kind", ["drift", "performance", "estimate"])
def test_monitors_wait_for_the_cool_down(kind: str) -> None:
    night = Night(TODAY, **{kind: ("it fell",)})  # type: ignore[arg-type]
    answer = decide_night("flights", night, State(last_training_day=TODAY - timedelta(days=13)), ALL)
    assert isinstance(answer, Wait)
    assert "Cooling down until 2013-09-21 after the training of 2013-09-07" in answer.reason


def test_one_training_at_a_time() -> None:
    answer = decide_night("flights", AILING, replace(TRAINED, running=True), ALL)
    assert answer == Wait("A training is under way; waiting: AUC fell.")


def test_a_probe_that_sees_no_gain_saves_the_training_for_a_week() -> None:
    policy = replace(ALL, every_days=None)
    answer = decide_night("flights", AILING, TRAINED, policy)
    assert isinstance(answer, Retrain)
    saved = after_probe(answer, NO_GAIN, policy)
    assert isinstance(saved, Wait)
    assert "raise the mean loss" in saved.reason
    assert "AUC fell" in saved.reason
    probed = replace(TRAINED, last_probe_day=TODAY)
    for later in range(10):
        again = decide_night("flights", replace(AILING, day=TODAY + timedelta(days=later)), probed, policy)
        assert isinstance(again, Retrain) == (later >= 7)
    told = decide_night("flights", replace(AILING, day=TODAY + timedelta(days=1)), probed, policy)
    assert isinstance(told, Wait)
    assert "until 2013-09-27 as the probe advised against training on the data of 2013-09-20" in told.reason


def test_a_probe_answers_the_calendar_too() -> None:
    policy = RetrainPolicy(every_days=30, probe_confidence=0.5)
    probed = replace(TRAINED, last_probe_day=TODAY)
    due = [n for n in range(40) if kinds(Night(TODAY + timedelta(days=n)), policy, probed)]
    assert due[0] == 30


def test_a_probe_that_sees_a_gain_or_nothing_lets_the_training_go_on() -> None:
    answer = Retrain(Cause("drift", "moved", TODAY, "e"), TODAY)
    good = replace(NO_GAIN, gain=0.01, probability=0.9, worth=True)
    nothing = replace(NO_GAIN, gain=None, probability=None, interval=None, worth=True, reason="no champion serves yet.")
    for probe in (good, nothing):
        assert after_probe(answer, probe, ALL) is answer
    assert after_probe(answer, NO_GAIN, RetrainPolicy()) is answer


def test_people_and_first_models_are_not_probed() -> None:
    drift = Cause("drift", "moved", TODAY, "e")
    assert needs_probe(Retrain(drift, TODAY), TRAINED, ALL)
    assert not needs_probe(Retrain(drift, TODAY), TRAINED, RetrainPolicy())
    assert not needs_probe(Retrain(drift, TODAY), State(), ALL)
    assert not needs_probe(Retrain(Cause("manual", "please", TODAY, "m"), TODAY, (drift,)), TRAINED, ALL)


def test_a_report_asks_once_for_a_day() -> None:
    asked = causes("flights", AILING, TRAINED, ALL)
    handled = frozenset(cause.evidence for cause in asked)
    assert isinstance(decide(asked, replace(TRAINED, handled=handled), ALL, TODAY), Wait)


@pytest.mark.parametrize("wrong", [{"every_days": 0}, {"probe_confidence": 1.0}, {"probe_again_days": -1}])
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetrainPolicy(**wrong)  # type: ignore[arg-type]
