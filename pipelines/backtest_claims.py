"""What the year must show, and what it showed: the claims of a policy backtest.

What belongs here: the limits, and holding what was measured against them. The page they stand on is in
``backtest_page.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.backtesting.alarms import COSTLY
from lifecycle.backtesting.backtest import OWN
from pipelines.pages import percent

CLAIMS = ["claim", "limit", "found", ""]


def claims(content: Mapping[str, Any]) -> list[list[str]]:
    """What a year must show (the limits), and what it showed."""
    made: list[tuple[str, float, float | None, bool]] = []
    own = next((each["spans"]["whole"] for each in content["policies"] if each["policy"] == OWN), None)
    if own is not None:
        made.append(
            ("gain of the pipeline's policy, as a share of retraining weekly", 0.9, own.get("gain_share"), True)
        )
        made.append(("its CPU seconds, as a share of weekly's", 1 / 3, own.get("cpu_share"), False))
    for way, table in content.get("false_alarms", {}).items():
        heard = {row["monitor"]: row["share"] for row in table}
        made += [
            (
                f"nights with an error ({name}) in a year that does not change (shuffled {way})",
                0.05,
                heard.get(name),
                False,
            )
            for name in ("any", "heard by the policy")
            if name in heard
        ]
    if "detection" in content:
        made += [(text, 1.0, found, True) for text, found in _found_in_time(content["detection"])]
    own_estimates = [one for one in content.get("estimates", []) if one["policy"] == OWN and "weeks" in one]
    # The claim is of the nightly estimate; what it owes to labels that are known, and what is left without, is beside.
    for one in sorted(own_estimates, key=lambda one: one["days_ahead"]):
        made.append((_estimated(one), 0.8, one["share_within"], True))
    rows = [
        [text, f"{'≥' if least else '≤'} {limit:.0%}", percent(found, 1), _verdict(limit, found, least)]
        for text, limit, found, least in made
    ]
    return rows + [
        _coverage(one) for one in content.get("estimates", []) if one["days_ahead"] == 1 and one.get("covered_interval")
    ]


def _estimated(graded: Mapping[str, Any]) -> str:
    if graded["days_ahead"] == 1:
        text = "weeks whose AUC was estimated within 0.02, as their last forecasts were issued"
        known, alone = graded.get("known_share"), graded.get("within_by_known")
        if known is None:
            return text
        return f"{text} ({percent(known)} of the labels being known; by these alone {percent(alone)})"
    text = "– before the week, from scores alone"
    most = graded.get("within_at_most")
    return text if most is None else f"{text} (for one who knew how the model ranks, but no label: {percent(most)})"


def _found_in_time(detection: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Shares of the costly faults that were found in time: of all, of those in the inputs, and of those in the labels.

    The last have a limit that no monitor can pass, which is named.
    """
    text = f"faults that cost a tenth of the skill, found within {detection['within_days']} days"
    found = [(text, detection["costly"]["by_any_monitor"])]
    labels = [row for row in detection["faults"] if row["kind"] == "label_shift"]
    inputs = [row for row in detection["faults"] if row["kind"] != "label_shift"]
    costly, of_labels = ([row for row in rows if row["costly"]] for rows in (inputs, labels))
    if costly and of_labels:
        found.append(("– those in the inputs", _of_injections(costly)))
    found += _by_fault(inputs, "inputs", detection["within_days"])
    if not costly or not of_labels:
        return found
    most = {limit["size"]: limit["most"] for limit in detection.get("labels", ())}
    known = [{**row, "costly_found": most[row["size"]]} for row in of_labels if most.get(row["size"]) is not None]
    could = f" (any test that errs on one night in twenty: at most {percent(_of_injections(known))})" if known else ""
    found.append((f"– those in the labels{could}", _of_injections(of_labels)))
    return found + _by_fault(labels, "labels", detection["within_days"])


def _by_fault(faults: Sequence[Mapping[str, Any]], where: str, within: int) -> list[tuple[str, float | None]]:
    """Share of the faults (kind, column and size) that are costly on average and found in time more often than not."""
    costly = [row for row in faults if row["cost"] >= COSTLY]
    if not costly:
        return []
    in_time = sum(row["days_median"] is not None and row["days_median"] <= within for row in costly)
    text = f"– of the {len(costly)} faults in the {where} that cost as much on average, those whose median is in time"
    return [(text, in_time / len(costly))]


def _of_injections(rows: Sequence[Mapping[str, Any]]) -> float:
    """Share of their costly injections that were found in time."""
    total = sum(row["costly"] for row in rows)
    return float(sum(row["costly_found"] * row["costly"] for row in rows) / total)


def _coverage(graded: Mapping[str, Any]) -> list[str]:
    """Whether the band covers what it claims, as far as so few weeks can tell."""
    low, high = graded["covered_interval"]
    text = f"weeks within the estimate's band ({graded['policy']}), exact 95 % interval"
    honest = low <= graded["claimed"] <= high
    return [
        text,
        f"{graded['claimed']:.0%} within it",
        f"{percent(graded['covered'], 1)} ({low:.0%} to {high:.0%})",
        "met" if honest else "missed",
    ]


def _verdict(limit: float, found: float | None, least: bool) -> str:
    if found is None:
        return "not measured"
    return "met" if (found >= limit if least else found <= limit) else "missed"
