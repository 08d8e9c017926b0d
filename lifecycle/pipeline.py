"""The declaration of a pipeline: everything that is particular to one model's life.

What belongs here: frozen dataclasses and what follows from them alone. A pipeline is an instance of
``Pipeline`` in a module of its own under ``pipelines/``; every stage is generic over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lifecycle.alert_rules import SEEDS, AlertRule
from lifecycle.calendar import WEEK_DAYS, Calendar
from lifecycle.contract import Contract
from lifecycle.features import Derived, Feature, Lookup, View, feature_names

if TYPE_CHECKING:
    import polars as pl

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Table:
    """A source table: files that an upstream lands, one or more a day, and the contract they keep.

    Parameters
    ----------
    known_at : column holding the moment at which each row's fact became known.
    cadence : "daily" tables must land every day; "occasional" ones land when something changed.
    """

    name: str
    contract: Contract
    known_at: str
    description: str
    cadence: Literal["daily", "occasional"] = "daily"

    def __post_init__(self) -> None:
        if self.contract.column(self.known_at).type != "timestamp":
            raise ValueError(f"table {self.name!r}: known_at column {self.known_at!r} must be a timestamp")


@dataclass(frozen=True)
class Moment:
    """A moment at which every event is asked about.

    Parameters
    ----------
    lead : time before the event; None means the close of the business day before the event's.
    """

    name: str
    lead: timedelta | None = None


@dataclass(frozen=True)
class Spine:
    """The rows to predict or to learn from: which events, asked about when.

    Parameters
    ----------
    table : the table that announces events (for a business day E it lands on E-1).
    key : columns that identify an event.
    event_time : column with the moment of the event.
    moments : when an event is asked about; the first is the nightly batch.
    columns : columns of ``table`` that the rows carry on (entity keys, inputs, slices): what a request brings.
    """

    table: str
    key: tuple[str, ...]
    event_time: str
    moments: tuple[Moment, ...]
    columns: tuple[str, ...]

    @property
    def last_moment(self) -> Moment:
        """The moment with the shortest lead before the event, the nightly batch where there is no other."""
        leads = {moment.lead: moment for moment in self.moments if moment.lead is not None}
        return leads[min(leads)] if leads else self.moments[0]


@dataclass(frozen=True)
class Label:
    """What happened, and when it was known.

    Parameters
    ----------
    table : the table of outcomes, holding the spine's key.
    value : makes the label, a float, from the outcome rows; 0 and 1 in classification.
    longest_wait_days : outcomes known later than so many days after the event's day are not waited for.
    """

    name: str
    table: str
    value: Callable[[], pl.Expr]
    description: str
    longest_wait_days: int = 2


@dataclass(frozen=True)
class CostMatrix:
    """What a decision is worth, per row. A row is acted on when its score reaches the threshold."""

    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float = 0.0
    unit: str = "USD"


@dataclass(frozen=True)
class TrainingPlan:
    """How models are trained.

    Parameters
    ----------
    families : names of model families, keys of ``lifecycle.models.FAMILIES``.
    trials : hyperparameter trials, shared by the families.
    tuning_rows, max_rows : rows used by each trial, and by the final fit; sampled by hash of the key.
    folds, fold_days : time-ordered validation: so many blocks of so many days before the training end.
    timeout_seconds : fuse against endless tuning; when it blows the result depends on the machine.
    """

    families: tuple[str, ...] = ("hist_gradient_boosting", "linear")
    trials: int = 12
    tuning_rows: int = 40_000
    max_rows: int = 150_000
    folds: int = 2
    fold_days: int = 14
    min_days: int = 28
    timeout_seconds: float = 900.0
    seed: int = 2013


@dataclass(frozen=True)
class GateRule:
    """When a challenger may become champion.

    Parameters
    ----------
    window_days : most recent labelled days, kept out of training, on which both are scored.
    confidence : one-sided confidence at which the challenger's loss must be lower (paired bootstrap by day).
    max_calibration_gap : largest allowed |mean score - mean label| of the challenger on the window; where the
        champion's is larger still, that.
    max_slice_regression : largest allowed growth of mean loss in any slice of at least ``min_slice_rows``.
    """

    window_days: int = 14
    confidence: float = 0.9
    resamples: int = 2000
    max_calibration_gap: float = 0.05
    max_slice_regression: float = 0.02
    min_slice_rows: int = 500
    seed: int = 7


LEAST_FALSE_ALARM_DAYS = 10.0  # between false alarms of CUSUM; below, Siegmund's approximation of its limit fails


@dataclass(frozen=True)
class MonitorRule:
    """What the nightly reports compare, and where they raise a warning or an error.

    Parameters
    ----------
    drift_days, performance_days : trailing windows of the two reports.
    least_days : days of the champion's forecasts below which the reports raise no error.
    feature_psi : population stability index of a feature above which it is called drifted; a warning, and an error
        where the drift does harm. prediction_psi : the same for the predictions.
    ranking_drop : fall of AUC (classification) or R² (regression) below what the champion promises
        (``performance/promise.py``) that is an error, where it is beyond three standard errors.
    calibration_gap : |mean score - mean label| that is an error, likewise.
    false_discovery_rate : expected share of false calls among the columns and days called drifted or harmful.
    harm_skill_share : a drift is harmful from an expected growth of the loss by this share of the champion's skill (its
        gain over always forecasting the mean); a tenth is the size of fault that must be found. Of values held to be
        broken, whose cost is known to about half of it, from half of that (``drift.jumps.CALLED_FROM``).
    harmful_days, of_days : an error fires when so many of the last days were harmful, the last one among them; two of
        five is the rule of the field.
    concept_days : days over which the champion's errors are followed at most, from those it was judged on; and over
        which estimates are graded.
    concept_false_alarm_days : mean number of days between false alarms in each of the series of errors followed.
    level_false_share : share of nights on which the level of the last days is called where nothing has changed.
    seasonal_weeks : past weeks whose same weekday a day is also held against; five days tell a spread, one may lack.
    report_weekday : day of the week (Monday is 0) on which the full Evidently report is made; it is also
        made on the day a drift error begins.
    alerts : rules of thumb that raise an alert (lifecycle/alert_rules.py); they ask for no retraining.
    """

    drift_days: int = 14
    performance_days: int = 14
    least_days: int = 7
    feature_psi: float = 0.2
    prediction_psi: float = 0.2
    ranking_drop: float = 0.05
    calibration_gap: float = 0.04
    max_missing_growth: float = 0.2
    false_discovery_rate: float = 0.05
    harm_skill_share: float = 0.1
    harmful_days: int = 2
    of_days: int = 5
    concept_days: int = 90
    concept_false_alarm_days: float = 365.0
    level_false_share: float = 0.01
    seasonal_weeks: int = 6
    report_weekday: int | None = 6
    alerts: tuple[AlertRule, ...] = SEEDS

    def __post_init__(self) -> None:
        if self.least_days > min(self.drift_days, self.performance_days):
            raise ValueError(
                f"least_days ({self.least_days}) must not exceed drift_days ({self.drift_days}) and performance_days "
                f"({self.performance_days}): the reports could never raise an error"
            )
        if not 1 <= self.harmful_days <= self.of_days:
            raise ValueError(f"harmful_days ({self.harmful_days}) must lie between 1 and of_days ({self.of_days})")
        for name in ("false_discovery_rate", "level_false_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("least_days", "concept_days", "seasonal_weeks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        limits = ("feature_psi", "prediction_psi", "ranking_drop", "calibration_gap", "max_missing_growth")
        for name in (*limits, "harm_skill_share"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        if not LEAST_FALSE_ALARM_DAYS < self.concept_false_alarm_days < math.inf:
            raise ValueError(
                f"concept_false_alarm_days is {self.concept_false_alarm_days}; it must be a number above "
                f"{LEAST_FALSE_ALARM_DAYS}, below which no limit follows from it"
            )

    @property
    def drift_lookback_days(self) -> int:
        """Days of forecasts that the drift report looks at: its window, and like days before its first."""
        return self.drift_days + WEEK_DAYS * self.seasonal_weeks


@dataclass(frozen=True)
class ProofRule:
    """How much is proved of every training set and of every night's forecasts, where all would take too long.

    Parameters
    ----------
    examples : rows of a training set that are computed again in a world that ends at their prediction time.
    forecasts : forecasts of a night whose inputs are asked for again, offline and online.
    """

    examples: int = 20
    forecasts: int = 25
    seed: int = 3

    def __post_init__(self) -> None:
        if self.examples < 1 or self.forecasts < 1:
            raise ValueError(f"examples ({self.examples}) and forecasts ({self.forecasts}) must be at least 1")


@dataclass(frozen=True)
class RetrainPolicy:
    """What may ask for a retraining, and how often.

    Parameters
    ----------
    cool_down_days : days after a retraining during which checks do not ask for the next one.
    new_labels : labels known since the last training, refused or not, that ask for a retraining; None for never.
    every_days : days after a retraining, or a probe that advised against one, at which the calendar asks for the next
        one; None for never.
    on_drift, on_performance, on_estimate : whether errors of the drift report, of realised performance, of
        performance estimated before the labels, ask for one.
    probe_confidence : chance that a refit beats the champion, from which on a training is worth its cost; a probe
        runs before every training that no person asked for. 0.5 is "likelier than not": the gate still demands its
        own confidence before anything serves. None for no probe.
    probe_again_days : days after a probe that advised against training during which monitors do not ask again; a
        week brings every weekday's labels once.
    """

    cool_down_days: int = 14
    new_labels: int | None = None
    every_days: int | None = None
    on_drift: bool = True
    on_performance: bool = True
    on_estimate: bool = False
    probe_confidence: float | None = None
    probe_again_days: int = 7

    def __post_init__(self) -> None:
        for name in ("new_labels", "every_days"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"RetrainPolicy.{name} is {value}; it must be at least 1, or None for never")
        for name in ("cool_down_days", "probe_again_days"):
            if getattr(self, name) < 0:
                raise ValueError(f"RetrainPolicy.{name} is {getattr(self, name)}; it must not be negative")
        if self.probe_confidence is not None and not 0 < self.probe_confidence < 1:
            raise ValueError(
                f"RetrainPolicy.probe_confidence is {self.probe_confidence}; it must lie between 0 and 1, or be None"
            )


@dataclass(frozen=True)
class Pipeline:
    """One model's whole lifecycle.

    Parameters
    ----------
    name : prefix of asset keys and jobs, and name of the registered model; letters, digits, underscores.
    first_day, last_day : first and last business day there is data for; ``last_day`` None: goes on for ever.
    views : stored features; ``lookups``: join keys of views that are found by other views; ``derived``: features
        that are computed from the request and from stored ones, each may use those before it.
    retired : features that are still made, for the versions that use them, but that new models do not learn from. So a
        feature is replaced: declare the new one under another name, retire the old one, retrain; once a version
        without it serves, remove it.
    slices : columns of the spine by which results are also reported and guarded.
    feed : writes what a day brought into a landing folder as an upstream would and returns the files;
        None where a real upstream does.
    """

    name: str
    description: str
    owner: str
    calendar: Calendar
    first_day: date
    last_day: date | None
    tables: tuple[Table, ...]
    views: tuple[View, ...]
    spine: Spine
    label: Label
    task: Task
    lookups: tuple[Lookup, ...] = ()
    derived: tuple[Derived, ...] = ()
    retired: tuple[str, ...] = ()
    costs: CostMatrix | None = None
    slices: tuple[str, ...] = ()
    training: TrainingPlan = field(default_factory=TrainingPlan)
    gate: GateRule = field(default_factory=GateRule)
    monitor: MonitorRule = field(default_factory=MonitorRule)
    proofs: ProofRule = field(default_factory=ProofRule)
    retraining: RetrainPolicy = field(default_factory=RetrainPolicy)
    feed: Callable[[Path, date], list[Path]] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"pipeline name {self.name!r} must consist of letters, digits and underscores")
        known = {table.name for table in self.tables}
        named = {view.table for view in self.views} | {self.spine.table, self.label.table}
        if named - known:
            raise ValueError(f"pipeline {self.name!r} names tables it does not declare: {sorted(named - known)}")
        if self.task == "classification" and self.costs is None:
            raise ValueError(f"pipeline {self.name!r} classifies: declare costs, they set its decision threshold")
        names = [*(derived.name for derived in self.derived), *feature_names(self.views)]
        if len(set(names)) < len(names):
            raise ValueError(f"pipeline {self.name!r}: features declared more than once in {sorted(names)}")
        for lookup in self.lookups:
            self._check_lookup(lookup)
        unknown = sorted(set(self.retired) - {feature.name for feature in self.features})
        if unknown or not self.inputs:
            raise ValueError(
                f"pipeline {self.name!r} retires "
                + (f"features it does not declare: {unknown}" if unknown else "all features: none is learnt from")
            )

    @property
    def features(self) -> tuple[Feature, ...]:
        """All features that a model may take: derived ones first, then stored ones."""
        return (*(derived.feature for derived in self.derived), *self.stored_features)

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """What a new model learns from: all features but the retired ones."""
        return tuple(feature for feature in self.features if feature.name not in self.retired)

    @property
    def stored_features(self) -> tuple[Feature, ...]:
        """The features that are read from the feature store."""
        found = {lookup.feature for lookup in self.lookups}
        return tuple(feature for view in self.views for feature in view.features if feature.name not in found)

    @property
    def feature_service(self) -> str:
        """The service of what a new model learns from; its name changes when a definition does."""
        from lifecycle.definitions import service_name

        return service_name(self, self.inputs)

    def table(self, name: str) -> Table:
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(f"pipeline {self.name!r} has no table {name!r}; it has {[t.name for t in self.tables]}")

    def view(self, name: str) -> View:
        for view in self.views:
            if view.name == name:
                return view
        raise KeyError(f"pipeline {self.name!r} has no view {name!r}; it has {[v.name for v in self.views]}")

    def _check_lookup(self, lookup: Lookup) -> None:
        view = self.view(lookup.view)
        if lookup.feature not in [feature.name for feature in view.features]:
            raise ValueError(f"pipeline {self.name!r}: view {view.name!r} has no feature {lookup.feature!r} to look up")
        found = sorted({other.key for other in self.lookups} & set(view.keys))
        if found:
            raise ValueError(
                f"pipeline {self.name!r}: {lookup.key!r} is looked up by {found}, which is looked up itself"
            )
