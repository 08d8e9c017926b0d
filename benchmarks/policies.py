"""Records what a policy backtest found: what retraining gained and cost, false alarms, days to detect faults.

    python -m benchmarks.policies var/backtest    # the folder that `make backtest` wrote into

What belongs here: reading the figures out of the backtest's page. Measuring them is the backtest's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measurement import Measurement, keep
from lifecycle.backtesting.alarms import COSTLY, NIGHTS
from lifecycle.backtesting.backtest import OWN


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="that a backtest wrote its page into")
    page = parser.parse_args(arguments).folder / "backtest.json"
    if not page.exists():
        parser.error(f"there is no {page}; run `make backtest` first")
    for found in measured(json.loads(page.read_text(encoding="utf-8"))):
        keep(found)
    return 0


def measured(content: Mapping[str, Any]) -> Iterator[Measurement]:
    """The figures of a backtest, as far as it made them."""
    own: Mapping[str, Any] = next((each["spans"]["whole"] for each in content["policies"] if each["policy"] == OWN), {})
    period = f"nights {content['first_night']} to {content['last_night']}"
    if own.get("gain_share") is not None:
        gained = (
            f"Log loss that the pipeline's own policy saves over never retraining, as a share of weekly's; {period}."
        )
        yield Measurement("policy_gain_share", own["gain_share"], "share", "≥ 0.9", gained)
    if own.get("cpu_share") is not None:
        cost = f"CPU seconds of its trainings and probes, as a share of those of retraining every week; {period}."
        yield Measurement("policy_cpu_share", own["cpu_share"], "share", "≤ 0.3333", cost)
    yield from _false_alarms(content.get("false_alarms", {}))
    if "detection" in content:
        yield from _detection(content["detection"])
    for one in content.get("estimates", []):
        if (one["policy"], one["days_ahead"]) == (OWN, 1) and one.get("share_within") is not None:
            known = f", {one['known_share']:.0%} of the labels being known" if one.get("known_share") else ""
            text = (
                f"Of {one['weeks']} weeks, those whose AUC, estimated as their last forecasts were issued{known}, was "
                "within 0.02 of the realised."
            )
            yield Measurement("estimated_auc_week_share", one["share_within"], "share", "≥ 0.8", text)


def _false_alarms(found: Mapping[str, Any]) -> Iterator[Measurement]:
    """The worse of the ways to shuffle."""
    any_monitor = {way: row for way, table in found.items() for row in table if row["monitor"] == "any"}
    shares = {way: row["share"] for way, row in any_monitor.items() if row["share"] is not None}
    if shares:
        worst = max(shares, key=lambda way: shares[way])
        row = any_monitor[worst]
        how = (
            f"Nights with an error of any monitor in years that do not change: days shuffled ({worst}, the worse of "
            f"{len(shares)} ways), {row['worlds']} years, {row['nights']} nights, no retraining."
        )
        yield Measurement("false_alarm_day_share", row["share"], "share", "≤ 0.05", how)


def _detection(found: Mapping[str, Any]) -> Iterator[Measurement]:
    costly = [row for row in found["faults"] if row["cost"] >= COSTLY and row["kind"] != "label_shift"]
    of_labels = [row for row in found["faults"] if row["cost"] >= COSTLY and row["kind"] == "label_shift"]
    if costly:
        days = max(NIGHTS + 1 if row["days_median"] is None else row["days_median"] for row in costly)
        how = (
            f"Of the {len(costly)} faults in the inputs (kind, column and size) that cost a tenth of the skill on the "
            f"average of their injections, the largest median of days until an error; {NIGHTS + 1}: not found in "
            f"{NIGHTS}."
        )
        if of_labels:
            found_in = [(row["size"], row["days_median"]) for row in of_labels]
            shifts = ", ".join(f"{size:+g}: {'not found' if days is None else days}" for size, days in found_in)
            how += f" Shifts of the labels, of which no test finds all, by size in log-odds: {shifts}."
        yield Measurement("detect_days_max", days, "days", f"≤ {found['within_days']}", how)
    share = found["costly"]["by_any_monitor"]
    if share is not None:
        how = f"Of {found['costly']['injections']} injections that cost a tenth of the skill, those in labels too."
        yield Measurement("detected_in_time_share", share, "share", "≥ 1", how)


if __name__ == "__main__":
    sys.exit(main())
