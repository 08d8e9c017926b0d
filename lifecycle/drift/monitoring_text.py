"""The sentences of a day's data monitoring.

What belongs here: saying what was found, with the value beside its limit. What is found is decided in
``monitoring.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifecycle.drift.day_report import ColumnReport
    from lifecycle.pipeline import MonitorRule


def errors_of(columns: Sequence[ColumnReport], rule: MonitorRule) -> list[str]:
    """A sentence for every column whose drift does harm, the worst first."""
    harmful = (column for column in columns if column.harmful)
    worst_first = sorted(harmful, key=lambda column: -max(column.harm or 0.0, column.jump_harm or 0.0))
    return [
        f"{_subject(column)} {_moved(column)}, which does harm: {_size(column, rule)}; {_harm(column, rule)}."
        for column in worst_first
    ]


def warnings_of(
    columns: Sequence[ColumnReport],
    label: ColumnReport | None,
    absent: Sequence[str],
    unknown: Sequence[str],
    rule: MonitorRule,
) -> list[str]:
    """A sentence for everything else that is worth a look."""
    drifted = [column for column in (*columns, *([label] if label else [])) if column.drifted and not column.harmful]
    warnings = [f"{_subject(column)} drifted: {_size(column, rule)}; {_harm(column, rule)}." for column in drifted]
    for column in columns:
        if column.kind == "feature":
            warnings.extend(_doubts(column, rule))
    if absent:
        warnings.append(f"Not in this window, or of another type, though the champion uses it: {', '.join(absent)}.")
    if unknown:
        warnings.append(f"Declared, but not in the champion's reference: {', '.join(unknown)}.")
    return warnings


def _doubts(column: ColumnReport, rule: MonitorRule) -> Iterator[str]:
    growth = (column.missing_current or 0.0) - column.missing_reference
    if growth > rule.max_missing_growth:
        yield (
            f"Feature {column.name} is missing in {column.missing_current:.0%} of the rows, "
            f"{column.missing_reference:.0%} in the reference: look at the source it comes from."
        )
    if column.outside:
        yield f"Feature {column.name} is outside its declared range in {column.outside:.1%} of the rows."
    if column.stuck_days:
        yield f"Feature {column.name} has one value all day on {column.stuck_days} days: look at the source."
    if column.new_categories:
        named = ", ".join(column.new_categories[:5]) + (", …" if len(column.new_categories) > 5 else "")
        yield f"Feature {column.name} has values the reference never saw: {named}."


def _subject(column: ColumnReport) -> str:
    return {"prediction": "Predictions", "label": "Labels", "feature": f"Feature {column.name}"}[column.kind]


def _moved(column: ColumnReport) -> str:
    """Whether it is the window that moved, or a day or one group that it hardly shows."""
    return "drifted" if column.drifted or column.jump_harm is None else "jumped"


def _size(column: ColumnReport, rule: MonitorRule) -> str:
    limit = rule.prediction_psi if column.kind == "prediction" else rule.feature_psi
    day = f" ({column.day_psi:.2f} on the last day)" if column.day_psi is not None else ""
    text = (
        f"PSI {column.psi or 0.0:.2f}{day} against {limit:g} above the {column.expected_psi or 0.0:.2f} of days alone"
    )
    if column.q_value is not None:
        text += f", q {column.q_value:.2g}"
    if column.mean_reference is not None and column.mean_current is not None:
        text += f"; mean {column.mean_reference:.4g} → {column.mean_current:.4g}"
    return text + (f"; since {column.drifted_since}" if column.drifted_since else "")


def _harm(column: ColumnReport, rule: MonitorRule) -> str:
    if column.harm is None:
        return "what it does to the loss is not known"
    error = f" ± {column.harm_standard_error:.2g}" if column.harm_standard_error is not None else ""
    return (
        f"estimated change of the mean loss {column.loss_change or 0.0:+.2g}, of which the forecasts do not announce "
        f"{column.harm:+.2g}{error}{_jump(column)}; {column.harmful_days} of the last {rule.of_days} days harmful"
    )


def _jump(column: ColumnReport) -> str:
    """What a day unlike those before it may cost."""
    if column.jump_harm is None:
        return ""
    where = f" where {column.jump_group}" if column.jump_group else ""
    if column.jump_how == "alone":
        cost = (
            f"while the columns that it goes with did not, which costs {column.jump_harm:.2g} if it is off by as much"
        )
        return f"; it jumped {cost}"
    if column.jump_how == "unseen":
        return (
            "; it holds values that it never held, as after a change of unit, which costs "
            f"{column.jump_harm:.2g} if they are of no use"
        )
    if column.jump_how == "repeated":
        repeated = f"the value {column.jump_value} keeps" if column.jump_value else "rows without a value keep"
        return f"; {repeated} coming back, which costs {column.jump_harm:.2g} if it is of no use"
    return f"; it jumped{where}, which costs {column.jump_harm:.2g} if the values that moved are of no use"
