"""Whether the daemon lives: `python -m pipelines.heartbeat`, from cron, a systemd timer or a container's health check.

The sensor ``alert_on_failures`` cannot tell of its own death. It leaves a sign of life in the state folder each
time, and Dagster's daemons leave theirs in the instance; when one is older than some minutes, this program sends the
alert itself and ends with status 1. The next time that all is well, it says so.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from pipelines.instance import open_instance
from resources.alerts import Alert, Resolved, alerts
from resources.settings import Settings, quiet_environment

SOURCE = "daemon"
MINUTES = 10.0


def beat(settings: Settings, now: datetime) -> None:
    """Leaves the sensor's sign of life, whole or not at all."""
    settings.heartbeat.parent.mkdir(parents=True, exist_ok=True)
    partial = settings.heartbeat.with_suffix(".partial")
    partial.write_text(now.isoformat())
    partial.replace(settings.heartbeat)


def silent(settings: Settings, now: datetime, longest: timedelta) -> list[str]:
    """Sentences about what has given no sign of life for too long; none when all is well."""
    beats = {"the sensor alert_on_failures": _last_evaluation(settings)}
    instance = open_instance(settings)
    try:
        for name, status in instance.get_daemon_statuses().items():
            beat = status.last_heartbeat
            beats[f"Dagster's daemon {name}"] = datetime.fromtimestamp(beat.timestamp, UTC) if beat else None
    finally:
        instance.dispose()
    return [_sentence(what, at) for what, at in beats.items() if at is None or now - at > longest]


def look(settings: Settings, now: datetime, longest: timedelta = timedelta(minutes=MINUTES)) -> list[str]:
    """Looks for signs of life, alerts when there are none, and returns what is silent."""
    found = silent(settings, now, longest)
    message = "; ".join(found)
    event = Alert(SOURCE, "ERROR", message, link="/health") if found else Resolved("gives signs of life again", SOURCE)
    alerts(settings).report([event], now)
    return found


def main(arguments: list[str] | None = None) -> int:
    quiet_environment()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how old a sign of life may be; default 10")
    chosen = parser.parse_args(arguments)
    found = look(Settings(), datetime.now(UTC), timedelta(minutes=chosen.minutes))
    print("\n".join(found) or "alive")
    return 1 if found else 0


def _last_evaluation(settings: Settings) -> datetime | None:
    return datetime.fromisoformat(settings.heartbeat.read_text()) if settings.heartbeat.exists() else None


def _sentence(what: str, at: datetime | None) -> str:
    return f"{what} has given no sign of life" + (f" since {at:%Y-%m-%d %H:%M} UTC" if at else " yet")


if __name__ == "__main__":
    sys.exit(main())
