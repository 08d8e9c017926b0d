"""The page of the policy backtest: for machines as JSON, for people as one HTML file, for documents as Markdown.

What belongs here: saying and drawing what was measured, with how it was measured. Measuring is in ``backtest.py``.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from lifecycle.backtesting.alarms import COST_DAYS
from pipelines.backtest_claims import CLAIMS, claims
from pipelines.pages import (
    html_block,
    html_page,
    number,
    percent,
    percent_interval,
    picture,
    short,
    table,
    with_interval,
)

NAMES = {
    "never": "first model only",
    "monthly": "last day of every month",
    "weekly": "every 7 days",
    "drift": "drift error",
    "performance": "realised performance or concept drift",
    "estimate": "estimated performance",
    "own": "the pipeline's own policy",
}


def write_page(content: Mapping[str, Any], folder: Path) -> None:
    """Writes ``backtest.json``, ``backtest.html``, ``backtest.md`` and the plots into a folder.

    Parameters
    ----------
    content : what ``pipelines.backtest.run`` has measured so far; a part that is not there is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = _sections(content)
    plots = {name: png for _, _, drawn in sections for name, png in drawn.items()}
    (folder / "backtest.json").write_text(json.dumps(content, indent=1, default=str))
    (folder / "backtest.md").write_text(_markdown(content, sections))
    (folder / "backtest.html").write_text(_html(content, sections))
    for name, png in plots.items():
        (folder / f"backtest_{name}.png").write_bytes(png)


def summary(content: Mapping[str, Any]) -> str:
    """The table of policies over the whole period, and what was claimed beside what was found, as Markdown."""
    return "\n\n".join([_policy_table(content, "whole"), _own_settings(content), table(CLAIMS, claims(content))])


Section = tuple[str, str, dict[str, bytes]]  # title, blocks of text and tables, plots


def _sections(content: Mapping[str, Any]) -> list[Section]:
    made: list[Section] = [("What was done", _method(content), {})]
    if "policies" in content:
        made.append(("Policies", _policy_text(content), _policy_plots(content)))
        made.append(("Chosen on the earlier part, judged on the later", _halves(content), {}))
        made.append(("Month by month", _months(content), {}))
        made.append(("What asked, and what came of it", _retrainings(content), {}))
    if "false_alarms" in content:
        made.append(("False alarms", _alarm_text(content), {}))
    if "detection" in content:
        made.append(("Faults", _fault_text(content), _fault_plots(content)))
    if "estimates" in content:
        made.append(("Performance estimated before the labels", _estimate_text(content), _estimate_plots(content)))
    return made


def _method(content: Mapping[str, Any]) -> str:
    loss = "log loss (nats)" if content["task"] == "classification" else "squared error"
    return "\n\n".join(
        [
            f"The nights {content['first_night']} to {content['last_night']} of {content['pipeline']} were gone "
            "through in order, once under every policy. Features were retrieved once, as they were known at each "
            "prediction time; a label counts from the close at which it was known. Nothing that is decided at the "
            "close of a day comes from after it. The rules and limits are those of the code as it stood: whether they "
            "were chosen with these days in view, a run cannot tell.",
            "Every model was trained as the assets train it: same rows, tuning, seed, threshold, gate and reference. "
            "All policies have the same first model and calendar. What a training of a day costs is measured once, in "
            "CPU seconds, and charged to every policy that trains on that day; probes are charged too, the first model "
            "to none.",
            f"Loss is {loss} of the forecasts as issued. Intervals (95 %) come from resampling whole days, the same "
            f"days for all policies. Gain is loss saved over never retraining; regret is loss in excess of retraining "
            "every week, per 1,000 forecasts; shares are of what weekly retraining gains and costs.",
        ]
    )


def _policy_text(content: Mapping[str, Any]) -> str:
    return _policy_table(content, "whole") + "\n\n" + _own_settings(content)


def _own_settings(content: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in content["settings"]["retraining"].items())
    return f"The pipeline's own policy: {settings}."


def _policy_table(content: Mapping[str, Any], span: str) -> str:
    ranked = "AUC" if content["task"] == "classification" else "R²"
    unit = content.get("value_unit")
    header = ["policy", "loss (95 %)", ranked, "gain over never (95 %)", "share of weekly's gain (95 %)"]
    header += ["regret per 1,000"] + ([f"value per 1,000 ({unit})"] if unit else [])
    header += ["trained", "served", "probed (against)", "CPU s", "share of weekly's CPU"]
    rows = []
    for entry in content["policies"]:
        found = entry["spans"].get(span)
        if not found or not found.get("rows"):
            continue
        rows.append(
            [
                f"{entry['policy']}: {NAMES.get(entry['policy'], '')}",
                with_interval(found["loss"], found["loss_interval"], 4),
                number(found["ranking"], 3),
                "" if entry["policy"] == "never" else with_interval(found["gain"], found["gain_interval"], 4),
                percent_interval(found.get("gain_share"), found.get("gain_share_interval")),
                number(found.get("regret"), 2),
                *([number(found["value_per_1000"], 0)] if unit else []),
                str(found["trained"]),
                str(found["promoted"]),
                f"{found['probed']} ({found['probes_against']})",
                f"{found['cpu_seconds']:.0f}",
                percent(found.get("cpu_share")),
            ]
        )
    spans = {each["name"]: each for each in content["spans"]}
    about = f"Events of {spans[span]['first']} to {spans[span]['last']}"
    counts = {found["rows"] for entry in content["policies"] if (found := entry["spans"].get(span))}
    return f"{about}, {max(counts, default=0):,} forecasts with a label.\n\n{table(header, rows)}"


def _halves(content: Mapping[str, Any]) -> str:
    names = [span["name"] for span in content["spans"]]
    return "\n\n".join(_policy_table(content, name) for name in ("early", "late") if name in names)


def _months(content: Mapping[str, Any]) -> str:
    spans = [span["name"] for span in content["spans"] if span["name"] not in ("whole", "early", "late")]
    parts = []
    for name, title, digits in (("loss", "loss", 4), ("gain", "gain over never", 4), ("ranking", "ranking", 3)):
        rows = [
            [entry["policy"], *(number(entry["spans"][span].get(name), digits) for span in spans)]
            for entry in content["policies"]
        ]
        parts.append(table([title, *spans], rows))
    return "\n\n".join(parts)


def _retrainings(content: Mapping[str, Any]) -> str:
    parts = []
    for entry in content["policies"]:
        if entry["policy"] in ("never", "weekly"):
            continue
        rows = [
            [
                one["day"],
                " + ".join([one["kind"], *one["also"]]),
                short(one["detail"], 110),
                "" if one["probe"] is None else number(one["probe"]["probability"], 2),
                {True: "serves", False: "refused by the gate", None: "not trained: the probe"}[one["promoted"]],
                "" if one["improvement"] is None else f"{one['improvement']:+.4f}",
                f"{one['cpu_seconds'] + one['probe_cpu_seconds']:.0f}",
            ]
            for one in entry["retrainings"][1:]
        ]
        header = ["close of", "asked by", "what it said", "probe", "outcome", "loss saved on the window", "CPU s"]
        nights = ", ".join(f"{name} on {count}" for name, count in entry["alarm_nights"].items())
        heard = f" Nights with an error: {nights}." if nights else ""
        parts.append(f"Policy {entry['policy']}.{heard}")
        parts.append(table(header, rows) if rows else "Nothing asked.")
    return "\n\n".join(parts)


def _alarm_text(content: Mapping[str, Any]) -> str:
    parts = [
        "The labelled days were put into another order, each with all its rows and labels, so that nothing changes and "
        "every error is a false one. The first champion that passes the gate was watched every night without "
        "retraining. Features that look back move with their day. Shuffled freely, any day may take any date; within "
        "weekday, only those of the same weekday. The interval (95 %) comes from how the worlds differ. Nights are "
        "counted from the first on which an error is possible."
    ]
    for way, monitors in content["false_alarms"].items():
        rows = [
            [
                row["monitor"],
                percent_interval(row["share"], row["interval"], 1),
                number(row["episodes"], 1),
                f"{row['nights']:,}",
                str(row["worlds"]),
            ]
            for row in monitors
        ]
        header = [f"shuffled {way}", "nights with an error (95 %)", "episodes a year", "nights", "worlds"]
        parts.append(table(header, rows))
    return "\n\n".join(parts)


def _fault_text(content: Mapping[str, Any]) -> str:
    found = content["detection"]
    costly, within = found["costly"], found["within_days"]
    parts = [
        "Faults were put into what the champion gets, in worlds in which nothing else changes (shuffled within "
        "weekday, as a column that tells the weekday cannot else be seen to break), from several days on. "
        "Cost is the share of its skill over always forecasting the mean that the fault took in "
        f"{COST_DAYS // 7} weeks; the table has its mean, over champions that look at the column much and others. "
        "Days are those of faulty events that were over when a monitor first raised an error that it does not raise "
        "without the fault; 0 is the night on which the first faulty forecasts are issued. "
        "What is not found in a week counts as not found.",
        f"{costly['injections']} injections, of {costly['faults']} of the {len(found['faults'])} faults, cost a tenth "
        f"of the skill or more: {percent(costly['by_any_monitor'])} of them were found within {within} days by "
        f"any monitor, {percent(costly['by_the_policy'])} by those that the pipeline's policy hears."
        + (f" Not always in time: {', '.join(costly['missed'])}." if costly["missed"] else ""),
    ]
    if found.get("unknown"):
        parts.append(
            f"{found['unknown']} injections more were made where the champion had no skill to lose: what "
            "they cost cannot be said, and they are left out."
        )
    if found["cheap"]["injections"]:
        parts.append(
            f"Chance finds some, too: of {found['cheap']['injections']} injections that cost next to nothing "
            f"{percent(found['cheap']['by_any_monitor'])} coincide with a new error within {within} days."
        )
    if limits := [f"{each['size']:+g}: {percent(each['most'])}" for each in found.get("labels", ())]:
        parts.append(
            "That more or less happens than is forecast shows in the labels alone, and days differ. A test of the mean "
            f"of {within} days that knew level, direction and size, and erred on one night in twenty, could tell "
            f"these shares and no more, by log-odds: {', '.join(limits)}."
        )
    rows = [
        [
            fault["description"],
            percent(fault["cost"]),
            f"{fault['costly']} of {fault['injections']}",
            percent(fault["costly_found"]) if fault["costly"] else "",
            number(fault["days_median"], 1) or "not found",
            number(fault["days_worst"], 0) or "not found",
            percent(fault["found_within"]),
            percent(fault["found_within_by_the_policy"]),
            fault["first_found_by"] or "",
        ]
        for fault in sorted(found["faults"], key=lambda fault: -fault["cost"])
    ]
    header = ["fault", "cost", "cost a tenth", f"of these within {within}", "days, median", "days, worst"]
    header += [f"of all within {within}", "by the policy", "first found by"]
    return "\n\n".join([*parts, table(header, rows)])


def _estimate_text(content: Mapping[str, Any]) -> str:
    parts = [
        "Every week, Monday to Sunday, was estimated before its labels came: on what was known before the week, from "
        "scores alone, and on the day its last forecasts are issued, with the labels known by then. The estimator is "
        "fitted again for each week on the last labelled days."
    ]
    rows = []
    for one in content["estimates"]:
        when = "before the week" if one["days_ahead"] == 7 else "as its last forecasts are issued"
        if "weeks" not in one:
            rows.append([one["policy"], when, one["verdict"], "", "", "", ""])
            continue
        rows.append(
            [
                one["policy"],
                when,
                str(one["weeks"]),
                percent(one["share_within"]),
                number(one["mean_absolute_error"], 4),
                with_interval(one["bias"], None, 4),
                f"{percent_interval(one['covered'], one['covered_interval'])}; {one['claimed']:.0%} claimed",
            ]
        )
    header = ["forecasts of", "estimated", "weeks", "within 0.02", "mean error", "bias", "realised within the band"]
    return "\n\n".join([*parts, table(header, rows)])


# Plots


def _policy_plots(content: Mapping[str, Any]) -> dict[str, bytes]:
    from lifecycle.backtesting import plots

    days = [date.fromisoformat(day) for day in content["cumulative_gain"]["days"]]
    lines = content["cumulative_gain"]["lines"]
    promoted = {
        entry["policy"]: [date.fromisoformat(one["day"]) for one in entry["retrainings"][1:] if one["promoted"]]
        for entry in content["policies"]
    }
    best = max(lines, key=lambda name: lines[name][-1])
    whole = {entry["policy"]: entry["spans"]["whole"] for entry in content["policies"]}
    points = {
        name: (found["cpu_seconds"], found["gain"], tuple(found["gain_interval"])) for name, found in whole.items()
    }
    return {
        "gain": plots.cumulative_gain(
            days,
            lines,
            promoted,
            f"Policy {best} has saved most loss over never retraining; dots: a new model begins to serve",
            "loss saved so far, summed over events",
        ),
        "cost": plots.gain_against_cost(
            points,
            "What retraining gains, against what it costs",
            "CPU seconds of trainings and probes",
            "mean loss saved over never (95 %)",
        ),
    }


def _fault_plots(content: Mapping[str, Any]) -> dict[str, bytes]:
    from lifecycle.backtesting import plots

    found = content["detection"]
    share = percent(found["costly"]["by_any_monitor"])
    title = f"{share} of the faults that cost a tenth of the skill are found within {found['within_days']} days"
    return {"faults": plots.detection_map(found["faults"], found["within_days"], title)}


def _estimate_plots(content: Mapping[str, Any]) -> dict[str, bytes]:
    from lifecycle.backtesting import plots

    metric = "AUC" if content["task"] == "classification" else "R²"
    drawn = {}
    for one in content["estimates"]:
        if one["table"]:
            when = "before the week" if one["days_ahead"] == 7 else "as the week's last forecasts were issued"
            title = (
                f"Policy {one['policy']}: {metric} estimated {when} was within 0.02 of the realised one in "
                f"{one['share_within']:.0%} of {one['weeks']} weeks"
            )
            name = f"estimate_{one['policy']}_{one['days_ahead']}"
            drawn[name] = plots.estimated_weeks(one["table"], metric, title)
    return drawn


# Forms


def _markdown(content: Mapping[str, Any], sections: Sequence[Section]) -> str:
    parts = [f"# Policy backtest of {content['pipeline']}"]
    for title, text, drawn in sections:
        parts += [f"## {title}", text, *(f"![{name}](backtest_{name}.png)" for name in drawn)]
    return "\n\n".join(parts) + "\n"


def _html(content: Mapping[str, Any], sections: Sequence[Section]) -> str:
    body = []
    for heading, text, drawn in sections:
        body.append(f"<h2>{html.escape(heading)}</h2>")
        pictures = [picture(name, png) for name, png in drawn.items()]
        body += [html_block(block) for block in text.split("\n\n")] + pictures
    return html_page(f"Policy backtest of {content['pipeline']}", "".join(body))
