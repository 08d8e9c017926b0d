"""Whether to retrain now. What belongs here: the decision; who asks and who starts the run is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lifecycle.pipeline import RetrainPolicy

CauseKind = Literal["manual", "performance", "drift", "check", "estimate", "labels", "schedule"]

# Who is named as the cause when several ask at once: a person first, then what is known to have gone wrong before
# what may have, the calendar last.
PRECEDENCE: tuple[CauseKind, ...] = ("manual", "performance", "drift", "check", "estimate", "labels", "schedule")
# People and the calendar know what they ask for; monitors go on failing until new labels have come in.
HEEDS_COOL_DOWN: frozenset[CauseKind] = frozenset({"performance", "drift", "check", "estimate", "labels"})


@dataclass(frozen=True)
class Cause:
    """Something that asks for a retraining.

    Parameters
    ----------
    day : the day whose report, labels or calendar asks.
    evidence : identifies the asking for good (a check evaluation, a tick, a request); answered only once.
    """

    kind: CauseKind
    detail: str
    day: date
    evidence: str


@dataclass(frozen=True)
class State:
    """What is known about retraining so far.

    Parameters
    ----------
    last_training_day : the day of the latest finished training, promoted or not; None if there was none.
    running : whether a training is under way or queued.
    handled : evidence that has been answered already.
    last_probe_day : the day of the latest probe that advised against a training; None if none has since.
    """

    last_training_day: date | None = None
    running: bool = False
    handled: frozenset[str] = frozenset()
    last_probe_day: date | None = None


@dataclass(frozen=True)
class Retrain:
    """Train the model of ``day`` because of ``cause``; ``also`` are causes answered by the same training."""

    cause: Cause
    day: date
    also: tuple[Cause, ...] = ()

    @property
    def evidence(self) -> tuple[str, ...]:
        """Evidence answered by this training; add it to ``State.handled``."""
        return tuple(cause.evidence for cause in (self.cause, *self.also))


@dataclass(frozen=True)
class Wait:
    """Do not train now."""

    reason: str


def decide(causes: Sequence[Cause], state: State, policy: RetrainPolicy, today: date) -> Retrain | Wait:
    """Decide whether to retrain at the close of ``today``.

    Each cause is answered once, by its evidence; a training answers every cause up to its day, also
    those that come to be known afterwards. One training at a time. Monitors and new labels wait for the
    cool-down after the last training, and for the shorter one after a probe that advised against training;
    a schedule and a person do not.

    Examples
    --------
    >>> from lifecycle.pipeline import RetrainPolicy
    >>> failed = Cause("check", "AUC fell by 0.08", date(2013, 9, 3), "check-41")
    >>> decide([failed], State(date(2013, 8, 1)), RetrainPolicy(), date(2013, 9, 3)).cause.detail
    'AUC fell by 0.08'
    >>> decide([failed], State(date(2013, 8, 28)), RetrainPolicy(), date(2013, 9, 3)).reason
    'Cooling down until 2013-09-11 after the training of 2013-08-28; waiting: AUC fell by 0.08.'
    """
    pending = _pending(causes, state, today)
    if not pending:
        return Wait(
            "Nothing asks for a retraining." if not causes else "Everything that asked so far has been answered."
        )
    if state.running:
        return Wait(f"A training is under way; waiting: {pending[0].detail}.")
    cooling = _cooling(state, policy, today)
    able = [cause for cause in pending if cause.kind not in HEEDS_COOL_DOWN or cooling is None]
    if not able:
        return Wait(f"{cooling}; waiting: {pending[0].detail}.")
    return Retrain(able[0], today, also=tuple(cause for cause in pending if cause is not able[0]))


def _pending(causes: Sequence[Cause], state: State, today: date) -> list[Cause]:
    """Causes still to be answered, each evidence once, in order of precedence and then of day."""
    trained = state.last_training_day or date.min
    fresh = {
        cause.evidence: cause
        for cause in reversed(causes)
        if cause.evidence not in state.handled and trained < cause.day <= today
    }
    return sorted(fresh.values(), key=lambda cause: (PRECEDENCE.index(cause.kind), cause.day, cause.evidence))


def _cooling(state: State, policy: RetrainPolicy, today: date) -> str | None:
    """Until when monitors are not heard and why, None when they are."""
    rests = [
        (day + timedelta(days=days), f"{what} of {day}")
        for day, days, what in (
            (state.last_training_day, policy.cool_down_days, "after the training"),
            (state.last_probe_day, policy.probe_again_days, "as the probe advised against training on the data"),
        )
        if day is not None and today < day + timedelta(days=days)
    ]
    if not rests:
        return None
    until, why = max(rests)
    return f"Cooling down until {until} {why}"
