"""Plots of the policy backtest, in the style of ``lifecycle/plots.py``.

What belongs here: drawings that only the backtest needs. Nothing is computed beyond what a drawing takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import cycle
from typing import TYPE_CHECKING, Any

from lifecycle.plots import LINE_COLOURS, PALETTE, _dates, _day_axis, _figure, _label, _legend, _png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (*LINE_COLOURS, "#56B4E9", "#000000")
MARKERS = "os^Dv<>"


def cumulative_gain(
    days: Sequence[date],
    lines: Mapping[str, Sequence[float]],
    promotions: Mapping[str, Sequence[date]],
    title: str,
    unit: str,
) -> bytes:
    """What each policy has gained by each day, with a mark where a new model began to serve.

    Parameters
    ----------
    lines : name of each policy → (days,) its gain so far.
    promotions : name of each policy → days on which a model was promoted.
    """
    import numpy as np

    figure, (axes,) = _figure(title, left=0.12)
    figure.set_size_inches(9, 4.4)
    dates = _dates(days)
    for (name, values), colour in zip(lines.items(), cycle(COLOURS), strict=False):
        heights = np.asarray(values, dtype=float)
        axes.plot(dates, heights, color=colour, linewidth=2.2 if name == "own" else 1.3, label=name)
        places = np.searchsorted(dates, _dates(promotions.get(name, ())))
        places = places[places < dates.size]
        axes.plot(dates[places], heights[places], "o", color=colour, markersize=4)
    axes.axhline(0, color=PALETTE["reference"], linewidth=1)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _label(axes, y=unit)
    _day_axis(axes, days)
    _legend(axes, loc="upper left", columns=2)
    return _png(figure)


def gain_against_cost(
    points: Mapping[str, tuple[float, float, tuple[float, float]]], title: str, x: str, y: str
) -> bytes:
    """One point per policy: its cost, its gain, and the gain's interval."""
    figure, (axes,) = _figure(title, left=0.12)
    figure.set_size_inches(8, 3.8)
    # Neighbours would write over each other: names stand above and below by turns.
    for (name, (cost, gain, (low, high))), colour, marker, shift in zip(
        points.items(), cycle(COLOURS), cycle(MARKERS), cycle((4, -11)), strict=False
    ):
        bars = [[max(gain - low, 0.0)], [max(high - gain, 0.0)]]
        axes.errorbar([cost], [gain], yerr=bars, color=colour, marker=marker, markersize=6, capsize=3, linewidth=1)
        axes.annotate(name, (cost, gain), (7, shift), textcoords="offset points", fontsize=8, color=PALETTE["text"])
    axes.axhline(0, color=PALETTE["reference"], linewidth=1)
    axes.margins(x=0.12)
    _label(axes, x=x, y=y)
    return _png(figure)


def detection_map(faults: Sequence[Mapping[str, Any]], within: int, title: str) -> bytes:
    """Share of costly injections found in time, by what is hurt and by size; in each cell the size, cost and days.

    What costs no champion a tenth of its skill is grey: it need not be found.

    Parameters
    ----------
    faults : rows of ``alarms.detection``.
    """
    from matplotlib import colormaps

    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for fault in faults:
        grouped.setdefault(fault["name"].rsplit(":", 1)[0], []).append(fault)
    widest = max((len(group) for group in grouped.values()), default=1)
    figure, (axes,) = _figure(title, left=0.34)
    # Margins in inches: the more faults, the taller the picture.
    height = 1.2 + 0.52 * max(len(grouped), 1)
    figure.set_size_inches(9, height)
    axes.set_position((0.34, 0.5 / height, 0.635, 1 - 1.1 / height))
    figure.texts[0].set_y(1 - 0.15 / height)
    shades = colormaps["RdYlGn"]
    grouped = dict(sorted(grouped.items(), key=lambda item: -max(fault["cost"] for fault in item[1])))
    for place, group in enumerate(grouped.values()):
        for column, fault in enumerate(sorted(group, key=lambda fault: fault["cost"])):
            colour = shades(0.15 + 0.7 * fault["costly_found"]) if fault["costly"] else PALETTE["grid"]
            _cell(axes, column, place, fault, colour)
    axes.set_xlim(0, widest)
    axes.set_ylim(len(grouped), 0)
    axes.set_xticks([])
    axes.set_yticks([place + 0.5 for place in range(len(grouped))], list(grouped))
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _label(
        axes,
        x=f"sizes by cost; green: found within {within} days where it costs a tenth of the skill; grey: it does not",
    )
    return _png(figure)


def _cell(axes: Axes, column: int, place: int, fault: Mapping[str, Any], colour: Any) -> None:
    from matplotlib.patches import Rectangle

    corner = (column + 0.02, place + 0.05)
    axes.add_patch(Rectangle(corner, 0.96, 0.9, facecolor=colour, edgecolor="white"))
    days = "not found" if fault["days_median"] is None else f"{fault['days_median']:g} d"
    text = f"size {fault['size']:.3g} · cost {fault['cost']:.0%}\n{days}"
    axes.text(column + 0.5, place + 0.5, text, ha="center", va="center", fontsize=6.8, color=PALETTE["text"])


def estimated_weeks(weeks: Sequence[Mapping[str, Any]], metric: str, title: str) -> bytes:
    """A metric of each week as it was estimated, with its band, and as it turned out.

    Parameters
    ----------
    weeks : rows of a grade's table.
    """
    import numpy as np

    figure, (axes,) = _figure(title)
    figure.set_size_inches(9, 3.4)
    starts = [_as_day(week["first_day"]) for week in weeks]
    dates = _dates(starts)
    low, middle, high, realised = (
        np.array([week[name] for week in weeks], dtype=float) for name in ("low", "estimated", "high", "realised")
    )
    axes.fill_between(dates, low, high, color=PALETTE["main"], alpha=0.18, linewidth=0, label="band")
    axes.plot(dates, middle, color=PALETTE["main"], linewidth=1.4, label="estimated")
    axes.plot(dates, realised, "o", color=PALETTE["second"], markersize=4, label="realised")
    _label(axes, x="week beginning", y=metric)
    _day_axis(axes, starts)
    _legend(axes, columns=3)
    return _png(figure)


def _as_day(day: date | str) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day
