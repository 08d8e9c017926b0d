"""Rules of thumb that raise an alert when something measured goes beyond them.

What belongs here: the rules with the limits that are usual in the field, and judging measurements by them. Not
measuring, not sending, and not the checks that ask for a retraining: those weigh harm, a rule of thumb does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Measure = Literal["latency_p99_ms", "error_rate", "psi", "ranking"]


@dataclass(frozen=True)
class Measurement:
    """One measured value.

    Parameters
    ----------
    subject : what it was measured on, such as a feature; empty for the pipeline as a whole.
    baseline : the value it is compared with, where a rule is relative.
    noise : how far chance alone carries the value. It is taken from the value, and of a fall below a baseline it must
        be exceeded, as the limit must.
    """

    measure: Measure
    value: float
    subject: str = ""
    baseline: float | None = None
    noise: float = 0.0


@dataclass(frozen=True)
class AlertRule:
    """A limit for a measure.

    Parameters
    ----------
    limit : largest value allowed; with ``below_baseline``, the largest fall, as a share of the baseline.
    form : how values are written, a format specification.
    """

    name: str
    measure: Measure
    limit: float
    below_baseline: bool = False
    form: str = ".3g"

    def excess(self, measured: Measurement) -> float | None:
        """By how much a measurement exceeds the limit, noise considered; None where the rule cannot tell."""
        if not self.below_baseline:
            return measured.value - measured.noise - self.limit
        if measured.baseline is None:
            return None
        return measured.baseline - measured.value - max(self.limit * measured.baseline, measured.noise)

    def sentence(self, measured: Measurement) -> str:
        """What was measured, beside what it was held against."""
        value, noise = format(measured.value, self.form), format(measured.noise, self.form)
        if self.below_baseline and measured.baseline is not None:
            subject = f" ({measured.subject})" if measured.subject else ""
            beyond = f" and more than the {noise} of chance" if measured.noise else ""
            return (
                f"{self.name}{subject} is {value}, more than {self.limit:.0%}{beyond} below the baseline "
                f"{format(measured.baseline, self.form)}"
            )
        subject = f" of {measured.subject}" if measured.subject else ""
        beyond = f" beyond the {noise} of chance" if measured.noise else ""
        return f"{self.name}{subject} is {value}, above {format(self.limit, self.form)}{beyond}"


# The limits that monitoring guides of the field start from; a pipeline declares its own in MonitorRule.alerts.
SEEDS = (
    AlertRule("p99 latency", "latency_p99_ms", 200, form=".0f"),
    AlertRule("error rate", "error_rate", 0.01, form=".2%"),
    AlertRule("PSI", "psi", 0.2, form=".2f"),
    AlertRule("accuracy", "ranking", 0.05, below_baseline=True, form=".3f"),
)


@dataclass(frozen=True)
class Verdict:
    """How a rule was met; ``broken_by`` are the sentences about what exceeds it, the worst first."""

    rule: AlertRule
    broken_by: tuple[str, ...]


def judge(rules: Sequence[AlertRule], measured: Iterable[Measurement]) -> list[Verdict]:
    """Holds measurements against rules; a rule about which nothing was measured has no verdict.

    Examples
    --------
    >>> found = judge(SEEDS, [Measurement("psi", 0.31, "distance"), Measurement("psi", 0.05, "hour")])
    >>> [(verdict.rule.name, verdict.broken_by) for verdict in found]
    [('PSI', ('PSI of distance is 0.31, above 0.20',))]
    >>> judge(SEEDS, [Measurement("ranking", 0.70, baseline=0.75)])[0].broken_by
    ('accuracy is 0.700, more than 5% below the baseline 0.750',)
    >>> judge(SEEDS, [Measurement("ranking", 0.70, baseline=0.75, noise=0.06)])[0].broken_by
    ()
    """
    measured = list(measured)
    verdicts = []
    for rule in rules:
        excesses = [(rule.excess(found), found) for found in measured if found.measure == rule.measure]
        known = [(excess, found) for excess, found in excesses if excess is not None and excess == excess]
        if known:
            broken = sorted((pair for pair in known if pair[0] > 0), key=lambda pair: -pair[0])
            verdicts.append(Verdict(rule, tuple(rule.sentence(found) for _, found in broken)))
    return verdicts
