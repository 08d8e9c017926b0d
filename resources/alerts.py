"""Alerts: what people must hear about, to the log and a file; other channels plug in here."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger("perennial.alerts")


@dataclass(frozen=True)
class Alert:
    """One thing to hear about.

    Parameters
    ----------
    source : the run, check or sensor it comes from.
    link : path in the Dagster UI where it can be looked at.
    """

    source: str
    severity: str
    message: str
    link: str = ""


@dataclass(frozen=True)
class Alerts:
    """Sends alerts: one line each to the log and, as JSON, to a file."""

    path: Path

    def send(self, alert: Alert) -> None:
        logger.log(
            logging.ERROR if alert.severity == "ERROR" else logging.WARNING, "%s: %s", alert.source, alert.message
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"at": datetime.now(UTC).isoformat(), **asdict(alert)}) + "\n")

    def sent(self) -> list[dict[str, str]]:
        """All alerts sent so far, oldest first."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]
