"""A daemon that died is noticed by a program that does not need it, once, and so is its return."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster._daemon.types import DaemonHeartbeat

from pipelines import heartbeat
from pipelines.instance import open_instance
from resources.alerts import alerts
from resources.settings import Settings
from tests.loopback import Webhook, webhook

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, hook: Webhook) -> Settings:
    return Settings(home=tmp_path, alert_urls=f"json://127.0.0.1:{hook.port}")  # type: ignore[arg-type]


def live(settings: Settings, now: datetime, *, except_for: str = "") -> None:
    """What the sensor and Dagster's daemons leave behind while they live."""
    heartbeat.beat(settings, now)
    instance = open_instance(settings)
    for name in instance.get_required_daemon_types():
        if name != except_for:
            instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), name, "one", []))
    instance.dispose()


def test_a_dead_daemon_is_told_once_and_so_is_its_return(settings: Settings, hook: Webhook) -> None:
    live(settings, NOW)
    assert heartbeat.look(settings, NOW + 9 * MINUTE) == []
    assert hook.messages == []

    for minutes in (11, 12, 13):
        silent = heartbeat.look(settings, NOW + minutes * MINUTE)
        assert "the sensor alert_on_failures has given no sign of life since 2026-03-01 12:00 UTC" in silent
        assert len(silent) > 3, "all of Dagster's daemons, too"
    assert hook.titles == ["[ERROR] daemon"]
    assert "http://localhost:3000/health" in hook.messages[0]["message"]

    live(settings, NOW + 14 * MINUTE)
    assert heartbeat.look(settings, NOW + 15 * MINUTE) == []
    assert hook.titles == ["[ERROR] daemon", "[RESOLVED] daemon"]


def test_one_silent_daemon_among_living_ones_is_named(settings: Settings) -> None:
    live(settings, NOW, except_for="SCHEDULER")
    assert heartbeat.look(settings, NOW + MINUTE) == ["Dagster's daemon SCHEDULER has given no sign of life yet"]


def test_the_program_says_by_its_status_whether_the_daemon_lives(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    assert heartbeat.main([]) == 1
    assert "the sensor alert_on_failures has given no sign of life yet" in capsys.readouterr().out
    assert len(alerts(settings).open()) == 1

    live(settings, datetime.now(UTC) - 20 * MINUTE)
    assert heartbeat.main(["--minutes", "30"]) == 0
    assert capsys.readouterr().out == "alive\n"
    assert heartbeat.main(["--minutes", "5"]) == 1
