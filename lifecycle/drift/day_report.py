"""The report of a day's data monitoring: what it holds, and its forms for machines.

What belongs here: result types. How they come about is in ``monitoring.py``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["prediction", "feature", "label"]


@dataclass(frozen=True)
class ColumnReport:
    """How one column of a trailing window differs from the champion's reference.

    Parameters
    ----------
    psi, expected_psi : population stability index of the window, and what days' differences alone give on average.
    kolmogorov_smirnov, wasserstein, wasserstein_deviations : numeric columns; the latter in standard deviations of the
        reference. None where the reference has no sketch.
    kolmogorov_smirnov_p_value : with as many effective rows as the spread between days leaves.
    jensen_shannon, kullback_leibler : over the reference's bins, missing values being one.
    chi_square, chi_square_p_value : categorical columns; the textbook test, which takes rows to be independent and
        therefore calls nearly everything: shown for comparison, used for nothing.
    p_value : of the window's shares, days being the unit; None when the reference has fewer than five days.
    q_value : smallest false discovery rate, over all columns and tests, at which the column is called.
    design_effect : by how much shares vary more than those of independent rows would.
    drifted : index above its limit beyond what is expected, and called at the rule's false discovery rate.
    day_psi, day_p_value : the last day alone against the same reference.
    seasonal_psi, seasonal_p_value : the last day against the same weekday of past weeks.
    psi_slope : trend of the days' indexes, per day. ``drifted_since``: first of the drifted days without a break up to
        the last one.
    outside : share of rows outside the declared range. ``lost``: share of rows whose value tells the model nothing.
    stuck_days : days of the window with one and the same value, where the reference had none such.
    distinct : number of different values.
    importance : growth of the loss when the column is shuffled.
    loss_change : estimated change of the mean loss, in its units; see ``harm.estimate``.
    harm : the part of it that the forecasts do not announce themselves (``harm.announced``). When the mix of rows
        becomes harder, and a model says so, the loss grows and no retraining mends it; that is not called harm.
    jump_harm : growth of the loss by the worst of the last days that were unlike those before them, were the values
        that moved of no use (``jumps.py``); None without such a day. ``jump_group``: the slice that jumped;
        None for all rows. ``jump_how``, ``jump_value``: see ``jumps.Jump``; of a column that moved alone the harm is
        that of being off by as much. ``jump_since``: the first of these days.
    harmful_days : how many of the days that the rule looks at were harmful, and ``harmful`` whether they make an error.
    rank : size × importance × harm; a jump's harm has its size in it.
    bins, reference_counts, current_counts : the two distributions, for drawing.
    """

    name: str
    kind: Kind
    psi: float | None
    expected_psi: float | None
    kolmogorov_smirnov: float | None
    kolmogorov_smirnov_p_value: float | None
    jensen_shannon: float | None
    kullback_leibler: float | None
    wasserstein: float | None
    wasserstein_deviations: float | None
    chi_square: float | None
    chi_square_p_value: float | None
    p_value: float | None
    q_value: float | None
    design_effect: float | None
    drifted: bool
    day_psi: float | None
    day_p_value: float | None
    seasonal_psi: float | None
    seasonal_p_value: float | None
    psi_slope: float | None
    drifted_since: date | None
    missing_reference: float
    missing_current: float | None
    outside: float | None
    lost: float | None
    stuck_days: int
    new_categories: tuple[str, ...]
    distinct_reference: int | None
    distinct_current: int
    mean_reference: float | None
    mean_current: float | None
    importance: float | None
    loss_change: float | None
    loss_change_standard_error: float | None
    harm: float | None
    harm_standard_error: float | None
    harm_p_value: float | None
    jump_harm: float | None
    jump_group: str | None
    jump_how: str | None
    jump_value: str | None
    jump_since: date | None
    harmful_days: int
    harmful: bool
    rank: float
    bins: tuple[str, ...]
    reference_counts: tuple[int, ...]
    current_counts: tuple[int, ...]


@dataclass(frozen=True)
class PredictionSummary:
    """What the predictions of some rows look like, without labels.

    Parameters
    ----------
    confidence : classification: mean |p - 0.5|. ``entropy``: mean entropy of the forecasts, in nats.
    acted_share : share of scores at or above the live threshold.
    """

    rows: int
    mean: float | None
    standard_deviation: float | None
    confidence: float | None
    entropy: float | None
    acted_share: float | None


@dataclass(frozen=True)
class DayReport:
    """A day and the window that ends with it, held against the champion's reference.

    Parameters
    ----------
    day, first_day : the window; None when it holds no rows.
    features : one per input of the reference: those that make an error first, then by rank.
    prediction : the same of the scores; ``label`` of the labels known, None without.
    predictions_day, predictions_window, predictions_judged : output of the day, the window, and the judged rows.
    absent : inputs of the reference that the window does not have, or holds in another type.
    unknown : declared features that the reference does not have.
    harm_limit : growth of the mean loss that counts as harmful; None without judged rows.
    false_discovery_rate : what drifted and harmful columns were called at.
    errors, warnings : harmful drift is an error, harmless drift and doubtful data are warnings.
    reason : why there is no verdict; None when there is one.
    """

    day: date | None
    first_day: date | None
    features: tuple[ColumnReport, ...]
    prediction: ColumnReport | None
    label: ColumnReport | None
    predictions_day: PredictionSummary
    predictions_window: PredictionSummary
    predictions_judged: PredictionSummary | None
    absent: tuple[str, ...]
    unknown: tuple[str, ...]
    drifted_share: float | None
    harm_limit: float | None
    false_discovery_rate: float
    reference_rows: int
    current_rows: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    reason: str | None

    @property
    def columns(self) -> tuple[ColumnReport, ...]:
        """The prediction, the label if any is known, then the features in their order."""
        return tuple(column for column in (self.prediction, self.label, *self.features) if column is not None)

    def table(self) -> pl.DataFrame:
        """One row per column with all its statistics, but for the distributions."""
        import polars as pl

        schema = _schema()
        rows = [
            {name: list(value) if isinstance(value := getattr(column, name), tuple) else value for name in schema}
            for column in self.columns
        ]
        return pl.DataFrame(rows, schema=schema)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        plain = _plain(asdict(self))
        return plain if isinstance(plain, dict) else {}


def _schema() -> dict[str, pl.DataType]:
    import polars as pl

    types: dict[str, pl.DataType] = {
        "str": pl.String(),
        "Kind": pl.String(),
        "bool": pl.Boolean(),
        "int": pl.Int64(),
        "float": pl.Float64(),
        "date": pl.Date(),
        "tuple[str, ...]": pl.List(pl.String()),
    }
    drawn = ("bins", "reference_counts", "current_counts")
    return {
        field.name: types[str(field.type).removesuffix(" | None")]
        for field in fields(ColumnReport)
        if field.name not in drawn
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
