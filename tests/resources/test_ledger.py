"""The ledger answers what served when, and why."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from resources.lake import Lake
from resources.ledger import Ledger

DAY = date(2024, 2, 29)
PIPELINE = "cafe_orders"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Lake(str(tmp_path)))


def _later(days: int) -> date:
    return DAY + timedelta(days=days)


def test_nothing_served_before_the_first_promotion(ledger: Ledger) -> None:
    assert ledger.entries(PIPELINE).is_empty()
    assert ledger.served_at(PIPELINE, DAY) is None
    assert ledger.last_training_day(PIPELINE) is None


def test_what_serves_is_the_last_promotion_or_rollback_by_that_day(ledger: Ledger) -> None:
    ledger.record(PIPELINE, DAY, "gate", "train_first_model", "good enough", 1)
    ledger.record(PIPELINE, DAY, "promotion", "gate", "good enough", 1)
    ledger.record(PIPELINE, _later(8), "promotion", "gate", "better", 2, 1)
    ledger.record(PIPELINE, _later(9), "gate", "retrain_on_failed_checks", "not better", 3, 2)
    ledger.record(PIPELINE, _later(10), "rollback", "ada", "forecasts of nonsense", 1, 2)

    served = {n: ledger.served_at(PIPELINE, _later(n)) for n in (-1, 0, 7, 8, 9, 10, 99)}
    assert served == {-1: None, 0: 1, 7: 1, 8: 2, 9: 2, 10: 1, 99: 1}
    assert ledger.last_training_day(PIPELINE) == _later(9)


def test_decisions_are_kept_in_order_with_who_and_why(ledger: Ledger) -> None:
    for n in range(5):
        ledger.record(PIPELINE, DAY, "gate", "ada", f"reason {n}", n, evidence={"improvement": n / 10, "day": DAY})
    entries = ledger.entries(PIPELINE)
    assert entries["reason"].to_list() == [f"reason {n}" for n in range(5)]
    assert json.loads(entries["evidence"][3]) == {"improvement": 0.3, "day": str(DAY)}
    assert set(entries["decided_by"]) == {"ada"}


def test_every_pipeline_has_a_ledger_of_its_own(ledger: Ledger) -> None:
    ledger.record(PIPELINE, DAY, "promotion", "gate", "better", 4)
    assert ledger.served_at("another", DAY) is None


def test_what_another_process_decides_is_read_and_a_ledger_begun_anew_is_another(tmp_path: Path) -> None:
    import shutil

    ours, theirs = Ledger(Lake(str(tmp_path))), Ledger(Lake(str(tmp_path)))
    assert ours.entries("p").height == 0
    theirs.record("p", date(2024, 1, 1), "gate", "tester", "first", 1)
    assert ours.entries("p")["reason"].to_list() == ["first"]
    theirs.record("p", date(2024, 1, 2), "promotion", "tester", "second", 1)
    assert ours.entries("p")["reason"].to_list() == ["first", "second"] == theirs.entries("p")["reason"].to_list()
    assert ours.entries("q").height == 0
    shutil.rmtree(tmp_path / "p")
    theirs.record("p", date(2024, 1, 3), "gate", "tester", "anew", 1)
    theirs.record("p", date(2024, 1, 3), "gate", "tester", "and again", 1)
    assert ours.entries("p")["reason"].to_list() == ["anew", "and again"]
