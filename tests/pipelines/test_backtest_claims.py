"""What the year must show, held against what it showed."""

from __future__ import annotations

from typing import Any

from pipelines.backtest_claims import claims


def fault(kind: str, size: float, cost: float, found: float, median: float | None = None) -> dict[str, Any]:
    costly = 2 if cost >= 0.1 else 0
    share = found if costly else None
    return {
        "kind": kind,
        "size": size,
        "cost": cost,
        "costly": costly,
        "costly_found": share,
        "days_median": median,
    }


def detection(*faults: dict[str, Any], share: float, labels: list[dict[str, float]]) -> dict[str, Any]:
    found = {"within_days": 3, "costly": {"by_any_monitor": share}, "faults": list(faults), "labels": labels}
    return {"policies": [], "detection": found}


def test_faults_of_inputs_and_of_labels_are_told_apart_and_what_no_test_could_find_is_said() -> None:
    content = detection(
        fault("missing", 1.0, 0.5, 1.0, median=1.5),
        fault("unit_change", 2.0, 0.2, 0.5, median=4.0),
        fault("missing", 0.1, 0.01, 0.0),  # costs next to nothing
        fault("label_shift", 0.5, 0.6, 0.0),
        fault("label_shift", 2.0, 3.0, 1.0, median=2.0),
        share=0.625,
        labels=[{"size": 0.5, "most": 0.3}, {"size": 2.0, "most": 1.0}],
    )
    total, inputs, by_fault, labels, labels_by_size = claims(content)
    assert total[1:] == ["≥ 100%", "62.5%", "missed"]
    assert inputs[2:] == ["75.0%", "missed"]
    assert by_fault[2:] == ["50.0%", "missed"]
    assert "of the 2 faults" in by_fault[0]
    assert labels[2:] == ["50.0%", "missed"]
    assert "at most 65%" in labels[0]
    assert "of the 2 faults in the labels" in labels_by_size[0]
    assert labels_by_size[2:] == ["50.0%", "missed"]


def test_without_faults_of_the_labels_there_is_nothing_to_tell_apart() -> None:
    total, by_fault = claims(detection(fault("missing", 1.0, 0.5, 1.0, median=0.0), share=1.0, labels=[]))
    assert (total[3], by_fault[3]) == ("met", "met")


def test_what_an_estimate_owes_to_known_labels_and_what_is_left_without_them_is_said() -> None:
    def estimated(days_ahead: int, within: float, **more: float | None) -> dict[str, Any]:
        return {"policy": "own", "days_ahead": days_ahead, "weeks": 30, "share_within": within} | more

    known = {"known_share": 0.86, "within_by_known": 0.7, "within_at_most": 0.31}
    before = {"known_share": 0.0, "within_by_known": None, "within_at_most": 0.31}
    nightly, ahead = claims({"policies": [], "estimates": [estimated(7, 0.2, **before), estimated(1, 0.9, **known)]})
    assert nightly[1:] == ["≥ 80%", "90.0%", "met"]
    assert "86% of the labels being known; by these alone 70%" in nightly[0]
    assert ahead[1:] == ["≥ 80%", "20.0%", "missed"]
    assert "no label: 31%" in ahead[0]
    (unknown,) = claims({"policies": [], "estimates": [estimated(1, 0.0, known_share=0.5, within_by_known=None)]})
    assert "50% of the labels being known" in unknown[0]
