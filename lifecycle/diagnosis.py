"""The diagnosis of a day whose reports raised an error: from what the reports say to what a person should look at.

What belongs here: choosing and ordering what the reports, checks and the ledger tell, as data, and as Markdown. Looking
these up is the asset's work, the page that people open is written in ``resources/diagnosis_page.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.blast_radius import Radius, ranges
from lifecycle.calendar import days_between
from lifecycle.definitions import Definition, definitions
from lifecycle.policy import Night, decide_night, needs_probe
from lifecycle.retraining import State, Wait

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.pipeline import Pipeline, RetrainPolicy

MOST_COLUMNS, MOST_SLICES, LEAST_ROWS = 12, 8, 50


@dataclass(frozen=True)
class Moved:
    """A column that drifted, as the drift report has it; see ``day_report.ColumnReport``."""

    name: str
    kind: str
    psi: float | None
    expected_psi: float | None
    since: date | None
    importance: float | None
    loss_change: float | None
    harm: float | None
    harmful: bool
    missing_reference: float | None
    missing_current: float | None
    mean_reference: float | None
    mean_current: float | None
    new_categories: tuple[str, ...]
    jump_harm: float | None
    jump_group: str | None
    jump_how: str | None
    jump_value: str | None
    jump_since: date | None
    rank: float

    @property
    def first_day(self) -> date | None:
        """Since when it is unlike what it was, as far as known: of the window, or of the days on which it jumped."""
        return min((day for day in (self.since, self.jump_since) if day is not None), default=None)

    @property
    def how(self) -> str:
        """What was seen of it, apart from a drift of its whole window."""
        where = f" where {self.jump_group}" if self.jump_group else ""
        jumped = {
            "moved": f"jumped{where}",
            "alone": "moved alone",
            "unseen": "values that it never held",
            "repeated": f"{self.jump_value or 'no value'} keeps coming back",
        }
        new = f"new: {', '.join(self.new_categories[:3])}" if self.new_categories else ""
        return "; ".join(each for each in (jumped.get(self.jump_how or "", ""), new) if each)


@dataclass(frozen=True)
class WorseSlice:
    """A group whose forecasts became worse since the champion was judged.

    Parameters
    ----------
    loss, judged_loss : mean loss of its rows now, and when the champion was judged.
    """

    slice: str
    value: str
    rows: int
    loss: float
    judged_loss: float

    @property
    def growth(self) -> float:
        return self.loss - self.judged_loss


@dataclass(frozen=True)
class Doubt:
    """Something wrong with a partition that the window's forecasts were made from."""

    asset: str
    day: date
    what: str


@dataclass(frozen=True)
class Serving:
    """The version that served, and how it came to.

    Parameters
    ----------
    since : day as of whose close it came to serve; None where the ledger does not say.
    """

    version: int
    trained_through: date
    since: date | None
    decided_by: str
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What is known about an error at the close of a day.

    Parameters
    ----------
    errors : what the reports' checks said, by check.
    first_day : first day of the window that the drift report looked at.
    since : first day of the errors without a break.
    moved : columns that drifted, what does most harm first; ``steady``: how many did not.
    slices : groups that became worse, by what that costs in all.
    doubts : failed checks and quarantined rows upstream.
    radius : what is touched by the data that moved; None where nothing did.
    decided : what was decided lately, the newest first; ``next``: what the policy will do about it.
    links : title and address of the pages to look at.
    """

    pipeline: str
    day: date
    first_day: date
    since: date
    errors: Mapping[str, str]
    moved: tuple[Moved, ...]
    steady: int
    slices: tuple[WorseSlice, ...]
    doubts: tuple[Doubt, ...]
    radius: Radius | None
    serving: Serving | None
    decided: tuple[str, ...]
    next: str
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """What is wrong, in a line."""
        harmful = [column.name for column in self.moved if column.harmful]
        moved = f"; what moved and does harm: {', '.join(harmful[:3])}" if harmful else ""
        since = "today" if self.since == self.day else f"since {self.since}"
        return f"{' and '.join(self.errors)} failed, {since}{moved}"


def moved_columns(table: pl.DataFrame) -> tuple[tuple[Moved, ...], int]:
    """The columns of a day's drift report that drifted, what does most harm first, and how many did not.

    Parameters
    ----------
    table : rows of ``DayReport.table``; what an older table lacks is taken for unknown.
    """
    rows = table.to_dicts()
    drifted = [row for row in rows if row.get("drifted") or row.get("harmful")]
    columns = [
        Moved(
            name=row["name"],
            kind=row.get("kind") or ("prediction" if row["name"] == "prediction" else "feature"),
            since=row.get("drifted_since"),
            harmful=bool(row.get("harmful")),
            new_categories=tuple(row.get("new_categories") or ()),
            rank=row.get("rank") or 0.0,
            **{name: row.get(name) for name in _AS_REPORTED},
        )
        for row in drifted
    ]
    columns.sort(key=lambda column: (not column.harmful, -column.rank, -(column.psi or 0.0)))
    return tuple(columns), len(rows) - len(drifted)


_AS_REPORTED = (
    "psi",
    "expected_psi",
    "importance",
    "loss_change",
    "harm",
    "missing_reference",
    "missing_current",
    "mean_reference",
    "mean_current",
    "jump_harm",
    "jump_group",
    "jump_how",
    "jump_value",
    "jump_since",
)


def worse_slices(now: Iterable[Mapping[str, Any]], judged: Iterable[Mapping[str, Any]]) -> tuple[WorseSlice, ...]:
    """The groups that became worse since the champion was judged, by what that costs in all.

    Parameters
    ----------
    now, judged : ``slice``, ``value``, ``rows`` and mean ``loss`` of each; groups with few rows are left out.

    Examples
    --------
    >>> group = {"slice": "carrier", "rows": 500}
    >>> now = [group | {"value": "AA", "loss": 0.6}, group | {"value": "UA", "loss": 0.3}]
    >>> before = [group | {"value": "AA", "loss": 0.5}, group | {"value": "UA", "loss": 0.4}]
    >>> [found.value for found in worse_slices(now, before)]
    ['AA']
    """
    before = {
        (row["slice"], row["value"]): row["loss"]
        for row in judged
        if row["rows"] >= LEAST_ROWS and row.get("loss") is not None
    }
    found = [
        WorseSlice(row["slice"], row["value"], row["rows"], row["loss"], before[row["slice"], row["value"]])
        for row in now
        if (row["slice"], row["value"]) in before and row["rows"] >= LEAST_ROWS and row.get("loss") is not None
    ]
    worse = sorted((each for each in found if each.growth > 0), key=lambda each: -each.growth * each.rows)
    return tuple(worse[:MOST_SLICES])


def suspects(pipeline: Pipeline, moved: Sequence[Moved], day: date) -> dict[str, tuple[date, ...]]:
    """The partitions that the columns come from which moved: where a blast radius starts.

    Those that do harm if any does, else all that drifted; from the day since when they do, or the window's first.

    Returns
    -------
    dict
        Days of each asset, named without the pipeline.
    """
    harmful = [column for column in moved if column.harmful]
    window = day - timedelta(days=pipeline.monitor.drift_days - 1)
    declared = definitions(pipeline)
    found: dict[str, date] = {}
    for column in harmful or moved:
        since = column.first_day or window
        for asset in _sources(pipeline, column, declared):
            found[asset] = min(found.get(asset, since), since)
    return {asset: tuple(days_between(since, day)) for asset, since in sorted(found.items())}


def _sources(pipeline: Pipeline, column: Moved, declared: Mapping[str, Definition]) -> list[str]:
    """The assets that hold what a column is made from."""
    if column.kind == "prediction":
        return ["batch_predictions"]
    if column.kind == "label":
        return [f"validated/{pipeline.label.table}"]
    stored = {feature.name: view.name for view in pipeline.views for feature in view.features}
    used = [column.name, *(declared[column.name].uses if column.name in declared else ())]
    views = sorted({stored[name] for name in used if name in stored})
    return [f"features/{view}" for view in views] or [f"validated/{pipeline.spine.table}"]


def outlook(pipeline: str, night: Night, state: State, policy: RetrainPolicy) -> str:
    """What the policy does about the errors of a night, in a sentence."""
    answer = decide_night(pipeline, night, state, policy)
    if isinstance(answer, Wait):
        heard = {"drift": policy.on_drift, "performance": policy.on_performance, "estimate": policy.on_estimate}
        deaf = [kind for kind, hears in heard.items() if getattr(night, kind) and not hears]
        unheard = f" The policy does not hear errors of {' and '.join(deaf)}." if deaf else ""
        return f"No retraining now. {answer.reason}{unheard}"
    probe = " A probe comes first: would a refit on the newest labels beat the champion?"
    return f"A retraining as of {answer.day} is asked for.{probe if needs_probe(answer, state, policy) else ''}"


def markdown(diagnosis: Diagnosis) -> str:
    """The diagnosis as Markdown, for the asset's page."""
    parts = [f"**{diagnosis.headline}.**"]
    parts += [f"- `{name}`: {message}" for name, message in error_texts(diagnosis)]
    if diagnosis.moved:
        parts += ["", "**What moved**", "", *_table(moved_rows(diagnosis))]
    if diagnosis.slices:
        parts += ["", "**Groups that became worse**", "", *_table(slice_rows(diagnosis))]
    parts += ["", "**Upstream**", "", *_listed([doubt_text(doubt) for doubt in diagnosis.doubts[:12]], NO_DOUBTS)]
    parts += [
        "",
        "**Touched**",
        "",
        *_listed(touched_lines(diagnosis.radius), "nothing drifted, so no data is suspected"),
    ]
    parts += ["", "**The champion**", "", serving_text(diagnosis.serving)]
    parts += ["", "**What is done**", "", *_listed([*diagnosis.decided[:4], diagnosis.next], "")]
    if diagnosis.links:
        parts += ["", " · ".join(f"[{title}]({address})" for title, address in diagnosis.links.items())]
    return "\n".join(parts)


NO_DOUBTS = "no check failed and no row was quarantined among the days that the forecasts were made from"


def error_texts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Each check that failed, and the beginning of what it said: the tables tell the rest."""
    return [(name, shortened(message)) for name, message in diagnosis.errors.items()]


def shortened(text: str, most: int = 350) -> str:
    """The beginning of a text, without half a word.

    Examples
    --------
    >>> shortened("AUC fell by 0.08", 10)
    'AUC fell …'
    """
    return text if len(text) <= most else f"{text[: most - 1].rpartition(' ')[0]} …"


def moved_rows(diagnosis: Diagnosis) -> list[list[str]]:
    """What moved, as a table with its head."""
    head = ["column", "PSI (expected)", "since", "mean then → now", "missing then → now", "importance", "loss", "harm"]
    rows = [
        [
            f"{column.name}{f' ({column.how})' if column.how else ''}",
            f"{_number(column.psi)} ({_number(column.expected_psi)})",
            _since(column.first_day, diagnosis.first_day),
            f"{_number(column.mean_reference)} → {_number(column.mean_current)}"
            if column.mean_current is not None
            else "",
            f"{_share(column.missing_reference)} → {_share(column.missing_current)}",
            _number(column.importance),
            _signed(column.loss_change),
            _harm(column),
        ]
        for column in diagnosis.moved[:MOST_COLUMNS]
    ]
    return [head, *rows]


def slice_rows(diagnosis: Diagnosis) -> list[list[str]]:
    """The groups that became worse, as a table with its head."""
    rows = [
        [each.slice, each.value, f"{each.rows:,}", _number(each.judged_loss), _number(each.loss), _signed(each.growth)]
        for each in diagnosis.slices
    ]
    return [["slice", "value", "forecasts", "loss when judged", "loss now", "growth"], *rows]


def doubt_text(doubt: Doubt) -> str:
    return f"{doubt.asset}:{doubt.day} {doubt.what}"


def touched_lines(radius: Radius | None) -> list[str]:
    """What is touched, in a few lines: where it starts, the forecasts by version, and the models."""
    if radius is None:
        return []
    lines = [f"suspected: {asset} of {ranges(days)}" for asset, days in radius.named.items()]
    forecasts = radius.partitions.get("batch_predictions", {})
    for number in sorted({version for version in radius.live.values() if version is not None}):
        days = [day for day in forecasts if radius.live.get(day) == number]
        lines.append(f"forecasts by version {number}, made at the close of {ranges(days)}")
    for version in radius.versions:
        learnt = f"{version.learnt:,} of {version.learnt_of:,} rows" if version.learnt is not None else "rows"
        lines.append(f"version {version.number}{f' ({version.role})' if version.role else ''} learnt from {learnt}")
    if not radius.versions:
        lines.append("no model has learnt from it")
    lines.append(f"in full: `python -m pipelines.blast_radius {radius.what}`")
    return lines


def serving_text(serving: Serving | None) -> str:
    if serving is None:
        return "No version served."
    since = f", serves since the close of {serving.since}, by decision of {serving.decided_by}" if serving.since else ""
    return f"Version {serving.version}, trained through {serving.trained_through}{since}. {shortened(serving.reason)}"


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in body)]


def _listed(lines: Sequence[str], otherwise: str) -> list[str]:
    return [f"- {line}" for line in lines if line] or [otherwise]


def _since(since: date | None, first: date) -> str:
    if since is None:
        return "in the window"
    return f"{since} or before" if since <= first else str(since)


def _harm(column: Moved) -> str:
    doubt = "it is off by as much" if column.jump_how == "alone" else "what moved is of no use"
    jumped = f"{_signed(column.jump_harm)} if {doubt}" if column.jump_harm is not None else ""
    known = " or ".join(each for each in (_signed(column.harm), jumped) if each)
    return f"{known}{': error' if column.harmful else ''}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
