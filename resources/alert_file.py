"""The alert file: every alert, every problem that ended and every delivery, one JSON line each, and what follows.

What belongs here: reading and appending lines, and the state they add up to: which problems are open, since when
and how often, and what still has to be delivered. Not deciding what is sent, and not sending.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal, NamedTuple

logger = logging.getLogger("perennial.alerts")

Severity = Literal["ERROR", "WARN", "INFO"]
Line = dict[str, Any]
ALERT, RESOLVED, DELIVERY = "alert", "resolved", "delivery"
_REMEMBERED = 5000  # occurrences by which a repeated reading of Dagster's log is noticed


class Key(NamedTuple):
    """What makes two alerts the same problem."""

    source: str
    severity: str
    about: str


@dataclass
class Problem:
    """Something that went wrong and is not known to be over.

    Parameters
    ----------
    first, last : when it was first and last heard of.
    notified : when people were last told; None when they were not.
    day : the latest business day on which it occurred, where it is about days.
    evidence : what told of it: runs, evaluations of checks, ticks.
    """

    first: datetime
    last: datetime
    link: str
    notified: datetime | None = None
    count: int = 0
    day: date | None = None
    evidence: list[str] = field(default_factory=list)


@dataclass
class Delivery:
    """A line that has yet to reach a channel."""

    line: Line
    attempts: int = 0
    last_attempt: datetime | None = None


@dataclass
class State:
    """What the lines of an alert file add up to."""

    problems: dict[Key, Problem] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    pending: dict[tuple[str, str], Delivery] = field(default_factory=dict)

    def apply(self, line: Line) -> None:
        """Takes one line into account."""
        match line["kind"]:
            case "alert":
                self._occur(line)
            case "resolved":
                self.problems.pop(_key(line), None)
                self._see(line["evidence"])
            case "delivery":
                self._deliver(line)
        if line.get("sent"):
            self.mark_sent(line)

    def mark_sent(self, line: Line) -> None:
        """People are told by this line: it waits for every channel it goes to."""
        if line["kind"] == ALERT and (problem := self.problems.get(_key(line))):
            problem.notified = datetime.fromisoformat(line["recorded_at"])
        for channel in line["to"]:
            self.pending[line["id"], channel] = Delivery(line)

    def _occur(self, line: Line) -> None:
        self._see(line["evidence"])
        if line["severity"] == "INFO":  # news, not a problem
            return
        at = datetime.fromisoformat(line["at"])
        problem = self.problems.setdefault(_key(line), Problem(at, at, line["link"]))
        problem.last, problem.link, problem.count = max(at, problem.last), line["link"], problem.count + 1
        if line["day"]:
            problem.day = max(date.fromisoformat(line["day"]), problem.day or date.min)
        problem.evidence = [*problem.evidence[-499:], *([line["evidence"]] if line["evidence"] else [])]

    def _deliver(self, line: Line) -> None:
        place = (line["id"], line["channel"])
        if line["ok"] or line["gave_up"]:
            self.pending.pop(place, None)
        elif place in self.pending:
            self.pending[place].attempts = line["attempt"]
            self.pending[place].last_attempt = datetime.fromisoformat(line["recorded_at"])

    def _see(self, evidence: str) -> None:
        if evidence:
            self.seen[evidence] = None
            if len(self.seen) > _REMEMBERED:
                del self.seen[next(iter(self.seen))]


@dataclass
class AlertFile:
    """An alert file that is held: read as far as it goes, and appended to by nobody else."""

    state: State
    _file: BufferedRandom

    def append(self, lines: Sequence[Line]) -> None:
        """Writes lines for good."""
        if lines:
            self._file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
            self._file.flush()


@contextmanager
def hold(path: Path) -> Iterator[AlertFile]:
    """Opens an alert file, made when missing, and keeps other processes waiting until it is let go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = State()
        for line in read(path):
            state.apply(line)
        _end_last_line(file)
        yield AlertFile(state, file)


def read(path: Path) -> Iterator[Line]:
    """The lines of an alert file, oldest first; one that a crash has cut is named in the log and left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
            except ValueError:
                logger.info("%s: line %d is no JSON and is left out", path, number)
                continue
            if line.get("kind") in (ALERT, RESOLVED, DELIVERY):
                yield line


def _end_last_line(file: BufferedRandom) -> None:
    """What a crash has cut must not spoil the next line."""
    if file.seek(0, 2):
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _key(line: Line) -> Key:
    return Key(line["source"], line["severity"], line["about"])
