"""Alerts: what people must hear about, once per problem, in the log, in a file and on the channels configured.

What belongs here: telling new problems from known ones, and seeing that every channel gets what it should. Not
finding problems (``pipelines.alerting``), and not the services (``resources.channels``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from resources.alert_file import (
    ALERT,
    DELIVERY,
    RESOLVED,
    AlertFile,
    Delivery,
    Key,
    Line,
    Problem,
    Severity,
    hold,
    read,
)
from resources.channels import FAILURE, INFO, SUCCESS, WARNING, Channel, ChannelError, channels
from resources.settings import Settings

logger = logging.getLogger("perennial.alerts")

ATTEMPTS = 12  # over some six hours, see _wait
_SECONDS_PER_CHANNEL = 10.0  # a sensor's evaluation has a minute in all
_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO}
_KINDS = {"ERROR": FAILURE, "WARN": WARNING, "INFO": INFO}


@dataclass(frozen=True)
class Alert:
    """One occurrence of something to hear about.

    Parameters
    ----------
    source : the run, check, sensor or rule it comes from.
    about : what tells two problems of one source apart, such as the partition of a run.
    link : path in the Dagster UI, or address, where it can be looked at.
    evidence : identifies the occurrence for good; it is counted once however often it is reported.
    day : business day that it is about; what ended a problem must not be about an earlier one.
    at : when it happened; now if not given.
    """

    source: str
    severity: Severity
    message: str
    link: str = ""
    about: str = ""
    evidence: str = ""
    day: date | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Resolved:
    """A problem is over: that of a source, or every one that some evidence told of.

    Nothing is said where no such problem is open, so whoever sees something go well may report it.
    """

    message: str
    source: str = ""
    about: str = ""
    link: str = ""
    day: date | None = None
    evidence: tuple[str, ...] = ()
    at: datetime | None = None

    def ends(self, key: Key, problem: Problem) -> bool:
        if self.evidence:
            return not set(self.evidence).isdisjoint(problem.evidence)
        later = self.day is None or problem.day is None or self.day >= problem.day
        later = later and (self.at is None or self.at >= problem.last)
        return (key.source, key.about) == (self.source, self.about) and later


@dataclass(frozen=True)
class Alerts:
    """Sends alerts.

    Parameters
    ----------
    path : the file that keeps every occurrence, and from which all state follows.
    channels : where people are told, besides the log.
    repeat : how long a problem must last to be told again.
    ui_url : address of Dagster's UI, which links begin with.
    """

    path: Path
    channels: tuple[Channel, ...] = ()
    repeat: timedelta = timedelta(hours=24)
    ui_url: str = "http://localhost:3000"

    def report(self, events: Sequence[Alert | Resolved] = (), now: datetime | None = None) -> int:
        """Records what happened, by its time, tells people what is new to them, and returns how much that was.

        A problem is told when it begins, again when it came back after it was over, and once per ``repeat`` while
        it lasts. What began and ended within ``events`` is recorded and not told. What a channel did not take
        before is tried again; that a channel fails is logged and recorded, and never raised.
        """
        now = now or datetime.now(UTC)
        with hold(self.path) as file:
            told = self._record(file, events, now)
            for line in told:
                logger.log(_LEVELS[_tone(line)], "%s", _title(line) + ": " + line["message"])
            for channel in self.channels:
                self._deliver(file, channel, now)
        return len(told)

    def open(self) -> dict[Key, Problem]:
        """The problems that are not known to be over."""
        with hold(self.path) as file:
            return dict(file.state.problems)

    def lines(self, *kinds: str) -> list[Line]:
        """What the file holds, oldest first; all of it, or lines of some kinds."""
        return [line for line in read(self.path) if not kinds or line["kind"] in kinds]

    def _record(self, file: AlertFile, events: Sequence[Alert | Resolved], now: datetime) -> list[Line]:
        batch = _Batch(file, now, self.ui_url.rstrip("/"), self.repeat)
        for event in sorted(events, key=lambda event: event.at or now):
            batch.take(event)
        told = batch.told()
        for line in told:
            line |= {"sent": True, "to": [channel.name for channel in self.channels]}
        file.append(batch.lines)
        for line in told:
            file.state.mark_sent(line)
        return told

    def _deliver(self, file: AlertFile, channel: Channel, now: datetime) -> None:
        """Sends what waits for a channel, oldest first, until it is all sent, something fails or time is up."""
        until = time.monotonic() + _SECONDS_PER_CHANNEL
        waiting = [found for (_, name), found in file.state.pending.items() if name == channel.name]
        for delivery in waiting:
            if time.monotonic() > until:
                return
            if _due(delivery, now) and not self._send(file, channel, delivery, now):
                return

    def _send(self, file: AlertFile, channel: Channel, delivery: Delivery, now: datetime) -> bool:
        line, attempt, error = delivery.line, delivery.attempts + 1, ""
        try:
            channel.send(_title(line), _body(line), SUCCESS if line["kind"] == RESOLVED else _KINDS[line["severity"]])
        except ChannelError as failure:
            error = str(failure)
        gave_up = bool(error) and attempt >= ATTEMPTS
        if error:
            logger.warning("attempt %d of %d to send %r: %s", attempt, ATTEMPTS, _title(line), error)
        outcome = {
            "recorded_at": now.isoformat(),
            "kind": DELIVERY,
            "id": line["id"],
            "channel": channel.name,
            "ok": not error,
            "attempt": attempt,
            "gave_up": gave_up,
            "error": error,
        }
        file.append([outcome])
        file.state.apply(outcome)
        return not error


def alerts(settings: Settings) -> Alerts:
    """Where alerts go, as the settings say."""
    return Alerts(
        settings.alerts_path,
        channels(settings.alert_urls.get_secret_value()),
        timedelta(hours=settings.alert_repeat_hours),
        settings.ui_url,
    )


@dataclass
class _Batch:
    """Lines made of what is reported at once, and which of them people must hear."""

    file: AlertFile
    now: datetime
    ui_url: str
    repeat: timedelta
    lines: list[Line] = field(default_factory=list)
    news: list[bool] = field(default_factory=list)

    def take(self, event: Alert | Resolved) -> None:
        state = self.file.state
        if isinstance(event, Alert):
            if event.evidence not in state.seen:
                self._alert(event)
            return
        for key, problem in list(state.problems.items()):
            if event.ends(key, problem):
                self._resolved(event, key, problem)

    def told(self) -> list[Line]:
        """The last line of each problem, if people do not know yet: how it came to this they may look up."""
        last = {(line["source"], line["about"]): number for number, line in enumerate(self.lines)}
        return [self.lines[number] for number in sorted(last.values()) if self.news[number]]

    def _alert(self, event: Alert) -> None:
        key = Key(event.source, event.severity, event.about)
        line = self._line(ALERT, key, event.message, event.link, event.at) | {
            "evidence": event.evidence,
            "day": str(event.day) if event.day else None,
        }
        self.file.state.apply(line)
        problem = self.file.state.problems.get(key)
        if problem is not None:
            line |= {"count": problem.count, "since": problem.first.isoformat()}
        known = problem is not None and problem.notified is not None and self.now - problem.notified < self.repeat
        self._add(line, news=not known)

    def _resolved(self, event: Resolved, key: Key, problem: Problem) -> None:
        line = self._line(RESOLVED, key, event.message, event.link or problem.link, event.at)
        line |= {"evidence": "", "count": problem.count, "since": problem.first.isoformat()}
        self.file.state.apply(line)
        self._add(line, news=problem.notified is not None)

    def _line(self, kind: str, key: Key, message: str, link: str, at: datetime | None) -> Line:
        return {
            "at": (at or self.now).isoformat(),
            "recorded_at": self.now.isoformat(),
            "kind": kind,
            "id": uuid4().hex,
            **key._asdict(),
            "message": message,
            "link": self.ui_url + link if link.startswith("/") else link,
            "count": 1,
            "sent": False,
            "to": [],
        }

    def _add(self, line: Line, news: bool) -> None:
        self.lines.append(line)
        self.news.append(news)


def _due(delivery: Delivery, now: datetime) -> bool:
    return delivery.last_attempt is None or now - delivery.last_attempt >= _wait(delivery.attempts)


def _wait(attempts: int) -> timedelta:
    """After the first failure none, that is until the next evaluation; then 1, 3, 7, … minutes, at most an hour."""
    return timedelta(minutes=min(2 ** (attempts - 1) - 1, 60))


def _tone(line: Line) -> str:
    return "INFO" if line["kind"] == RESOLVED else str(line["severity"])


def _title(line: Line) -> str:
    state = "RESOLVED" if line["kind"] == RESOLVED else line["severity"]
    return f"[{state}] {line['source']}" + (f" ({line['about']})" if line["about"] else "")


def _body(line: Line) -> str:
    times = f"\n{line['count']} times since {line['since'][:16].replace('T', ' ')} UTC" if line["count"] > 1 else ""
    return f"{line['message']}{times}\n{line['link']}".strip()
