"""What a backtest found, as measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import policies


def alarms(share: float) -> list[dict[str, Any]]:
    return [
        {"monitor": "drift", "share": 0.5, "worlds": 2, "nights": 500},
        {"monitor": "any", "share": share, "worlds": 2, "nights": 500},
    ]


def fault(kind: str, cost: float, median: float | None, size: float = 1.0) -> dict[str, Any]:
    return {"kind": kind, "size": size, "cost": cost, "days_median": median}


CONTENT = {
    "first_night": "2013-03-31",
    "last_night": "2013-12-30",
    "policies": [
        {"policy": "never", "spans": {"whole": {}}},
        {"policy": "own", "spans": {"whole": {"gain_share": 0.95, "cpu_share": 0.4}}},
    ],
    "false_alarms": {"free": alarms(0.01), "within weekday": alarms(0.03)},
    "detection": {
        "within_days": 3,
        "costly": {"injections": 8, "by_any_monitor": 0.75},
        "faults": [
            *(fault("missing", 0.5, 1.0), fault("stuck_sensor", 0.2, None)),
            *(fault("label_shift", 2.0, None, 0.5), fault("label_shift", 3.0, 0.0, -1.0)),
        ],
    },
    "estimates": [{"policy": "own", "days_ahead": 1, "share_within": 0.8, "weeks": 30}],
}


def test_the_figures_of_a_backtest_become_measurements() -> None:
    found = {each.name: each for each in policies.measured(CONTENT)}
    assert {name: each.value for name, each in found.items()} == {
        "policy_gain_share": 0.95,
        "policy_cpu_share": 0.4,
        "false_alarm_day_share": 0.03,
        "detect_days_max": 8,
        "detected_in_time_share": 0.75,
        "estimated_auc_week_share": 0.8,
    }
    assert "within weekday" in found["false_alarm_day_share"].how
    assert found["detect_days_max"].how.endswith("by size in log-odds: +0.5: not found, -1: 0.0.")


def test_what_was_not_measured_is_left_out() -> None:
    never = {**CONTENT, "policies": CONTENT["policies"][:1], "false_alarms": {}, "estimates": []}  # type: ignore[index]
    del never["detection"]
    assert list(policies.measured(never)) == []


def test_they_are_recorded_and_a_folder_without_a_page_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []
    monkeypatch.setattr("benchmarks.measurement.record", lambda name, *_: written.append(name))
    (tmp_path / "backtest.json").write_text(json.dumps(CONTENT))
    assert policies.main([str(tmp_path)]) == 0
    assert "policy_cpu_share" in written
    with pytest.raises(SystemExit):
        policies.main([str(tmp_path / "nowhere")])
    assert "run `make backtest` first" in capsys.readouterr().err
