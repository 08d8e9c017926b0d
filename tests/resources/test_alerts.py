"""Alerts reach the log and the file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from resources.alerts import Alert, Alerts


def test_alerts_are_logged_by_severity_and_kept_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alerts = Alerts(tmp_path / "logs" / "alerts.jsonl")
    assert alerts.sent() == []

    with caplog.at_level(logging.INFO, logger="perennial.alerts"):
        alerts.send(Alert("check performs", "ERROR", "forecasts are\nbelow what happened", "/assets/x"))
        alerts.send(Alert("check landed", "WARN", "only 3 rows – a usual day has 40"))

    first, second = alerts.sent()
    assert (first["source"], first["severity"], first["link"]) == ("check performs", "ERROR", "/assets/x")
    assert first["message"] == "forecasts are\nbelow what happened"
    assert second["message"] == "only 3 rows – a usual day has 40"
    assert first["at"] <= second["at"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
