"""The retraining policy: from what a night knows to what asks for a retraining.

What belongs here: the triggers of a pipeline's ``RetrainPolicy``, and what a probe's answer means. Whether something
that asks is heard now (cool-down, one at a time) is ``retraining.decide``; sensors and backtests use both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.retraining import Cause, CauseKind, Retrain, State, Wait, decide

if TYPE_CHECKING:
    from lifecycle.pipeline import RetrainPolicy
    from lifecycle.probe import Probe


@dataclass(frozen=True)
class Night:
    """What is known at the close of a day.

    Parameters
    ----------
    drift, performance, estimate : errors of the drift report, of realised performance and of performance estimated
        before the labels; a sentence each, warnings not among them.
    new_labels : labels that became known since the last training.
    """

    day: date
    drift: tuple[str, ...] = ()
    performance: tuple[str, ...] = ()
    estimate: tuple[str, ...] = ()
    new_labels: int = 0


def causes(pipeline: str, night: Night, state: State, policy: RetrainPolicy) -> list[Cause]:
    """What asks for a retraining at the close of a day, under a policy.

    Parameters
    ----------
    pipeline : its name, which makes the evidence of a cause unique among pipelines.

    Returns
    -------
    list of Cause
        At most one of a kind. A report's evidence is its day; that of labels and calendar the day they count from,
        so that neither asks twice for one training. Calendar and labels count from a training, and ask for none
        before the first.

    Examples
    --------
    >>> from lifecycle.pipeline import RetrainPolicy
    >>> night = Night(date(2013, 9, 3), drift=("dep_hour moved",), new_labels=9000)
    >>> state = State(last_training_day=date(2013, 8, 1))
    >>> [cause.detail for cause in causes("flights", night, state, RetrainPolicy(new_labels=5000))]
    ['dep_hour moved', '9,000 labels since the training of 2013-08-01, 5,000 ask for the next']
    """
    asked: list[Cause] = []
    errors: list[tuple[CauseKind, bool, tuple[str, ...]]] = [
        ("drift", policy.on_drift, night.drift),
        ("performance", policy.on_performance, night.performance),
        ("estimate", policy.on_estimate, night.estimate),
    ]
    for kind, heard, texts in errors:
        if heard and texts:
            asked.append(Cause(kind, " ".join(texts), night.day, f"{pipeline}-{kind}-{night.day}"))
    counted = (labels_cause, schedule_cause)
    return [*asked, *(cause for make in counted if (cause := make(pipeline, night, state, policy)) is not None)]


def labels_cause(pipeline: str, night: Night, state: State, policy: RetrainPolicy) -> Cause | None:
    """Enough new labels since the last training, or None."""
    last = state.last_training_day
    if policy.new_labels is None or last is None or night.new_labels < policy.new_labels:
        return None
    detail = f"{night.new_labels:,} labels since the training of {last}, {policy.new_labels:,} ask for the next"
    return Cause("labels", detail, night.day, f"{pipeline}-labels-{_asked(state)}")


def schedule_cause(pipeline: str, night: Night, state: State, policy: RetrainPolicy) -> Cause | None:
    """The calendar's turn since the last training, or None.

    A probe that advised against training answers the calendar too: it counts anew from that day.
    """
    since = _asked(state)
    if policy.every_days is None or since is None or night.day < since + timedelta(days=policy.every_days):
        return None
    what = "training" if since == state.last_training_day else "probe"
    detail = f"{policy.every_days} days have passed since the {what} of {since}"
    return Cause("schedule", detail, night.day, f"{pipeline}-schedule-{since}")


def decide_night(pipeline: str, night: Night, state: State, policy: RetrainPolicy) -> Retrain | Wait:
    """Whether the policy retrains at the close of a day; before the probe, if it has one."""
    return decide(causes(pipeline, night, state, policy), state, policy, night.day)


def probed(kind: str | None, has_champion: bool, policy: RetrainPolicy) -> bool:
    """Whether a probe comes before a training that a cause of some kind asked for; None is a person.

    Not for a person, who knows what they ask for, nor for the first model, which has no champion to beat.
    """
    return policy.probe_confidence is not None and has_champion and kind not in (None, "manual")


def needs_probe(answer: Retrain, state: State, policy: RetrainPolicy) -> bool:
    """Whether a probe should come before this training; see ``probed``. One cause by a person is enough for none."""
    kinds = {cause.kind for cause in (answer.cause, *answer.also)}
    kind = "manual" if "manual" in kinds else answer.cause.kind
    return probed(kind, state.last_training_day is not None, policy)


def after_probe(answer: Retrain, probe: Probe, policy: RetrainPolicy) -> Retrain | Wait:
    """The decision after a probe: go on with the training, or save its cost.

    A probe without a verdict (see ``Probe.reason``) saves nothing: the training goes on, and its gate decides. Record
    a ``Wait`` with its day as ``State.last_probe_day``.
    """
    if policy.probe_confidence is None or probe.worth or probe.probability is None:
        return answer
    return Wait(f"{probe.detail} The training is saved; it was asked for by: {answer.cause.detail}.")


def _asked(state: State) -> date | None:
    """The day since which calendar and labels have not been answered."""
    days = [day for day in (state.last_training_day, state.last_probe_day) if day is not None]
    return max(days) if state.last_training_day is not None else None
