"""All plots of the project: arrays in, PNG bytes out.

What belongs here: drawing, in one style. A plot answers one question; its title, given by the caller, states
the answer. Nothing is computed here beyond what a drawing needs, and nothing is written to disk.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart with any colour vision; a role keeps its colour in every plot.
PALETTE = {
    "main": "#0072B2",
    "second": "#D55E00",
    "third": "#009E73",
    "fourth": "#CC79A7",
    "fifth": "#E69F00",
    "reference": "#8A8F98",
    "limit": "#B2182B",
    "text": "#2B2F36",
    "grid": "#E4E6EA",
}
LINE_COLOURS = tuple(PALETTE[name] for name in ("main", "second", "third", "fourth", "fifth"))
SIZE_INCHES, DPI = (7.0, 3.2), 80
TITLE_CHARACTERS = 82
NAME_CHARACTERS = 34
MOST_BARS = 14  # of named, horizontal bars; more cannot be read


def reliability(labels: np.ndarray, scores: Mapping[str, np.ndarray], title: str, bins: int = 10) -> bytes:
    """Observed frequency against forecast probability, in bins of equally many rows, above their histogram.

    Parameters
    ----------
    labels : (rows,) 0 and 1.
    scores : name of each version → (rows,) its probabilities.
    """
    import numpy as np

    figure, (curve, histogram) = _figure(title, rows=2, height_ratios=(3, 1), sharex=True, hspace=0.12)
    curve.plot([0, 1], [0, 1], color=PALETTE["reference"], linestyle="--", linewidth=1, label="perfect")
    for (name, values), colour in zip(scores.items(), cycle(LINE_COLOURS), strict=False):
        parts = np.array_split(np.argsort(values, kind="stable"), min(bins, max(len(values), 1)))
        points = [(values[part].mean(), labels[part].mean()) for part in parts if part.size]
        curve.plot(*np.array(points).reshape(-1, 2).T, color=colour, marker="o", markersize=3.5, label=name)
        histogram.hist(values, bins=np.linspace(0, 1, 41).tolist(), histtype="step", color=colour)
    _label(curve, y="observed share")
    _label(histogram, x="forecast probability", y="rows")
    curve.set_xlim(0, 1)
    curve.set_ylim(0, 1)
    _legend(curve, loc="upper left")
    return _png(figure)


def distribution(bins: Sequence[str], reference: Sequence[float], current: Sequence[float], title: str) -> bytes:
    """Share of rows in each bin, in the reference and in the current window.

    Parameters
    ----------
    bins, reference, current : names and counts of the bins, as in ``ColumnReport``; empty ones are left out.
    """
    import numpy as np

    before, now = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    seen = np.flatnonzero((before > 0) | (now > 0))
    places = np.arange(seen.size)
    crowded = seen.size > 8
    figure, (axes,) = _figure(title, bottom=0.22 if crowded else 0.1)
    for counts, name, colour, shift in (
        (before, "reference", PALETTE["reference"], -0.2),
        (now, "current", PALETTE["main"], 0.2),
    ):
        shares = 100 * counts[seen] / max(counts.sum(), 1.0)
        axes.bar(places + shift, shares, width=0.4, color=colour, label=f"{name} ({counts.sum():,.0f} rows)")
    step = max(1, -(-seen.size // 24))  # so many names fit
    names = [_shorten(bins[index], 12) for index in seen[::step]]
    axes.set_xticks(places[::step], names)
    if crowded:
        axes.tick_params(axis="x", rotation=35)
    axes.grid(axis="x", visible=False)
    _label(axes, y="share of rows (%)")
    _legend(axes)
    return _png(figure)


def drift_bars(
    names: Sequence[str], values: Sequence[float], limit: float, title: str, expected: Sequence[float] | None = None
) -> bytes:
    """Population stability index of the features given, first on top, with the limit and what sampling gives."""
    values = values[:MOST_BARS]
    figure, axes, places = _named_bars(names, title, "population stability index (nats)")
    colours = [PALETTE["second"] if value > limit else PALETTE["main"] for value in values]
    axes.barh(places, values, color=colours, height=0.7)
    if expected is not None:
        axes.plot(
            expected[:MOST_BARS], places, "|", color=PALETTE["text"], markersize=7, label="expected without drift"
        )
    axes.axvline(limit, color=PALETTE["limit"], linestyle="--", linewidth=1, label=f"limit {limit:g}")
    axes.set_xlim(0, 1.08 * max([limit, *values]))
    _legend(axes, loc="lower right")
    return _png(figure)


def over_days(
    days: Sequence[date],
    lines: Mapping[str, Sequence[float | None]],
    title: str,
    unit: str,
    limit: float | None = None,
    reference: float | None = None,
    retrainings: Sequence[date] = (),
) -> bytes:
    """Values over days, beside their limit and reference, with a mark at every retraining.

    Parameters
    ----------
    lines : name of each line → (days,) values, None where there is none.
    unit : what the values are, with their unit.
    """
    import numpy as np

    figure, (axes,) = _figure(title)
    for (name, values), colour in zip(lines.items(), cycle(LINE_COLOURS), strict=False):
        heights = np.array(values, dtype=float)
        axes.plot(_dates(days), heights, color=colour, linewidth=1.6, label=name, **_lonely_marker(heights))
    if reference is not None:
        axes.axhline(reference, color=PALETTE["reference"], linewidth=1.2, label=f"reference {reference:.3g}")
    if limit is not None:
        axes.axhline(limit, color=PALETTE["limit"], linestyle="--", linewidth=1, label=f"limit {limit:.3g}")
    for number, day in enumerate(_dates(retrainings)):
        label = None if number else "retraining"
        axes.axvline(day, color=PALETTE["third"], linestyle=":", linewidth=1.4, label=label)
    _label(axes, y=unit)
    _day_axis(axes, days)
    _legend(axes)
    return _png(figure)


def improvement(draws: np.ndarray, interval: tuple[float, float], title: str, unit: str) -> bytes:
    """Bootstrap distribution of the challenger's improvement over the champion, with zero drawn in.

    Parameters
    ----------
    draws : (resamples,) loss of the champion minus loss of the challenger, as in ``Decision``.
    unit : what the loss is, with its unit.
    """
    import numpy as np

    figure, (axes,) = _figure(title)
    reach = max(float(abs(draws).max(initial=0.0)), 1e-6)
    low, high = min(0.0, float(draws.min(initial=0.0))), max(0.0, float(draws.max(initial=0.0)))
    # Zero is an edge, so that no bar holds both the better and the worse.
    width = max(high - low, reach) / 50
    edges = width * np.arange(np.floor(low / width) - 1, np.ceil(high / width) + 2)
    axes.axvspan(*interval, color=PALETTE["grid"], linewidth=0, zorder=0, label="confidence interval")
    for chosen, colour, name in (
        (draws[draws > 0], PALETTE["main"], "challenger better"),
        (draws[draws <= 0], PALETTE["second"], "challenger no better"),
    ):
        if chosen.size:
            counts, _ = np.histogram(chosen, edges)
            axes.stairs(counts, edges, fill=True, color=colour, label=name)
    axes.axvline(0, color=PALETTE["limit"], linestyle="--", linewidth=1.2, label="no difference")
    axes.set_xlim(edges[0] - 2 * width, edges[-1] + 2 * width)
    _label(axes, x=f"improvement in {unit}", y="resamples of days")
    _legend(axes)
    return _png(figure)


def value_by_threshold(
    thresholds: np.ndarray, values: np.ndarray, chosen: float, title: str, unit: str, none: float, everything: float
) -> bytes:
    """Value of acting from each threshold on, beside acting on none and on all.

    Parameters
    ----------
    thresholds, values : (points,) the curve; ``none`` and ``everything`` are in the same unit.
    """
    figure, (axes,) = _figure(title, left=0.13)
    axes.axhline(none, color=PALETTE["reference"], linewidth=1.2, label="acting on none")
    axes.axhline(everything, color=PALETTE["reference"], linestyle=":", linewidth=1.4, label="acting on all")
    axes.plot(thresholds, values, color=PALETTE["main"], linewidth=1.6, label="acting from the threshold on")
    axes.axvline(chosen, color=PALETTE["third"], linestyle="--", linewidth=1.2, label=f"chosen {chosen:.2f}")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _label(axes, x="threshold on the score", y=unit)
    _legend(axes)
    return _png(figure)


def by_month(months: Sequence[date], lines: Mapping[str, Sequence[float | None]], title: str, unit: str) -> bytes:
    """A metric per month, one line for each policy, named at its end."""
    import numpy as np

    figure, (axes,) = _figure(title)
    for (name, values), colour, marker in zip(lines.items(), cycle(LINE_COLOURS), cycle("osD^v"), strict=False):
        axes.plot(np.array(values, dtype=float), color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
    axes.set_xticks(range(len(months)), [f"{month:%b}" for month in months])
    _label(axes, x=_years(months), y=unit)
    _legend(axes)
    return _png(figure)


def importance_bars(names: Sequence[str], values: Sequence[float], title: str) -> bytes:
    """What a model's inputs are worth, first on top: growth of the mean loss when a column is shuffled."""
    figure, axes, places = _named_bars(names, title, "growth of the mean loss when shuffled")
    axes.barh(places, values[:MOST_BARS], color=PALETTE["main"], height=0.7)
    return _png(figure)


def _named_bars(names: Sequence[str], title: str, unit: str) -> tuple[Figure, Axes, np.ndarray]:
    """A figure for horizontal bars, the first name on top, and the places of the bars that fit."""
    import numpy as np

    shown = names[:MOST_BARS]
    figure, (axes,) = _figure(title, left=0.37)
    places = np.arange(len(shown))[::-1]
    axes.set_yticks(places, [_shorten(name, NAME_CHARACTERS) for name in shown])
    axes.tick_params(axis="y", labelsize=7.5)
    axes.grid(axis="y", visible=False)
    _label(axes, x=unit if len(shown) == len(names) else f"{unit}; first {len(shown)} of {len(names)} features")
    return figure, axes, places


def _figure(
    title: str,
    rows: int = 1,
    left: float = 0.1,
    bottom: float = 0.16,
    height_ratios: Sequence[float] | None = None,
    sharex: bool = False,
    hspace: float = 0.2,
) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wrapped = textwrap.wrap(title, TITLE_CHARACTERS)
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = 0.95 - 0.065 * len(wrapped)
    space: dict[str, Any] = {"left": left, "right": 0.975, "top": top, "bottom": bottom, "hspace": hspace}
    if height_ratios:
        space["height_ratios"] = height_ratios
    grid = figure.subplots(rows, 1, sharex=sharex, squeeze=False, gridspec_kw=space)
    figure.text(0.012, 0.975, "\n".join(wrapped), fontsize=9.5, weight="bold", color=PALETTE["text"], va="top")
    axes = [row[0] for row in grid]
    for each in axes:
        _style(each)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALETTE["reference"])
    axes.tick_params(labelsize=8, colors=PALETTE["text"], length=3)
    axes.grid(color=PALETTE["grid"], linewidth=0.8)
    axes.set_axisbelow(True)


def _label(axes: Axes, x: str = "", y: str = "") -> None:
    axes.set_xlabel(x, fontsize=8.5, color=PALETTE["text"])
    axes.set_ylabel(y, fontsize=8.5, color=PALETTE["text"])


def _legend(axes: Axes, loc: Literal["best", "upper left", "lower right"] = "best", columns: int = 1) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc=loc, ncols=columns, fontsize=7.5, frameon=True, framealpha=0.85, edgecolor="none", borderpad=0.3
        )


def _day_axis(axes: Axes, days: Sequence[date]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, DateFormatter, DayLocator

    if len(days) < 10:
        axes.xaxis.set_major_locator(DayLocator())
        axes.xaxis.set_major_formatter(DateFormatter("%-d %b"))
        return
    locator = AutoDateLocator(minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set_fontsize(8)


def _dates(days: Sequence[date]) -> np.ndarray:
    import numpy as np

    return np.array(days, dtype="datetime64[D]")


def _lonely_marker(heights: np.ndarray) -> dict[str, Any]:
    """A line through one point is not seen; a short one is easier to read with its points."""
    return {"marker": "o", "markersize": 3} if len(heights) <= 31 else {}


def _shorten(name: str, characters: int) -> str:
    """A name without its middle: the end often holds the window, which tells two features apart."""
    if len(name) <= characters:
        return name
    tail = (characters - 1) // 3
    return f"{name[: characters - 1 - tail]}…{name[len(name) - tail :]}"


def _years(months: Sequence[date]) -> str:
    years = sorted({month.year for month in months})
    return f"{years[0]}–{years[-1]}" if len(years) > 1 else "".join(map(str, years))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
