"""The scoreboard of a replay: what each policy's forecasts were worth month by month, and what its retrainings cost.

Writes ``scoreboard.json`` for machines, ``scoreboard.html`` for people and ``scoreboard.md`` for documents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.batch_predictions import predictions_table
from assets.examples import read_labels
from assets.issued import read_issued
from lifecycle.pipeline import Pipeline
from pipelines.pages import html_block, html_page, picture, short, table
from resources.lake import Lake
from resources.ledger import Ledger
from resources.settings import Settings

if TYPE_CHECKING:
    import polars as pl

JOURNAL = "replay.json"
COLUMNS = {
    "classification": ("auc", "log_loss", "brier", "brier_skill", "calibration_gap", "value_per_1000"),
    "regression": ("r2", "rmse", "mae", "calibration_gap"),
}
DRAWN = {"classification": ("log_loss", "auc", "value_per_1000"), "regression": ("rmse", "r2")}


@dataclass(frozen=True)
class Board:
    """Where a scoreboard was written, and its text."""

    json: Path
    html: Path
    text: str


def write_scoreboard(pipeline: Pipeline, homes: Mapping[str, Path], folder: Path) -> Board:
    """Scores the forecasts that were issued under each policy and writes the scoreboard into ``folder``.

    Parameters
    ----------
    homes : state folder of each policy's replay.
    """
    policies = {policy: _score(pipeline, home) for policy, home in homes.items()}
    against = _against_never(pipeline, policies)
    content = {
        "pipeline": pipeline.name,
        "policies": {
            policy: {name: value for name, value in scored.items() if name != "rows"} | against.get(policy, {})
            for policy, scored in policies.items()
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = _markdown(pipeline, content["policies"])  # type: ignore[arg-type]
    plots = _plots(pipeline, content["policies"])  # type: ignore[arg-type]
    board = Board(folder / "scoreboard.json", folder / "scoreboard.html", text)
    board.json.write_text(json.dumps(content, indent=1, default=str))
    board.html.write_text(_html(pipeline, text, plots))
    (folder / "scoreboard.md").write_text(text)
    for name, png in plots.items():
        (folder / f"scoreboard_{name}.png").write_bytes(png)
    return board


def _score(pipeline: Pipeline, home: Path) -> dict[str, Any]:
    import polars as pl

    lake = Lake(str(Settings(home=home).lake))
    rows = _judged(pipeline, lake)
    months = []
    for month in rows["month"].unique().sort().to_list():
        part = rows.filter(pl.col("month") == month)
        months.append({"month": month, "rows": part.height, **_metrics(pipeline, part)})
    journal = json.loads((home / JOURNAL).read_text())
    return {
        "rows": rows,
        "first_day": rows["event_day"].min(),
        "last_day": rows["event_day"].max(),
        "forecasts": rows.height,
        **_metrics(pipeline, rows),
        "months": months,
        "retrainings": _retrainings(pipeline, lake, journal),
        "replay_seconds": round(journal["seconds"], 1),
        "night_seconds": _median_night(journal),
    }


def _judged(pipeline: Pipeline, lake: Lake) -> pl.DataFrame:
    """Forecasts as they were issued, with what happened."""
    import polars as pl

    issued = read_issued(pipeline, lake).filter(pl.col("score").is_not_null())
    last = max(lake.days(predictions_table(pipeline)))
    labels = read_labels(pipeline, lake, pipeline.first_day, last)
    key = list(pipeline.spine.key)
    joined = issued.join(labels.select(*key, "label"), on=key, how="inner")
    return joined.sort("event_time", *key).with_columns(pl.col("event_day").dt.truncate("1mo").alias("month"))


def _metrics(pipeline: Pipeline, rows: pl.DataFrame) -> dict[str, float]:
    from lifecycle.evaluation import evaluate

    labels, scores = rows["label"].to_numpy(), rows["score"].to_numpy()
    days = rows["event_day"].to_numpy().astype("datetime64[D]")
    found = evaluate(labels, scores, days, pipeline.task).metrics
    metrics = {name: round(float(found[name]), 6) for name in COLUMNS[pipeline.task] if name in found}
    if pipeline.costs:
        metrics["value_per_1000"] = round(1000 * _value(pipeline, rows) / max(1, rows.height), 2)
    return metrics


def _value(pipeline: Pipeline, rows: pl.DataFrame) -> float:
    """What the decisions as they were taken were worth, at each version's own threshold."""
    import polars as pl

    costs = pipeline.costs
    assert costs is not None
    acted, happened = pl.col("decision"), pl.col("label") > 0
    worth = (
        pl.when(acted & happened)
        .then(costs.true_positive)
        .when(acted)
        .then(costs.false_positive)
        .when(happened)
        .then(costs.false_negative)
        .otherwise(costs.true_negative)
    )
    return float(rows.select(worth.sum()).item())


def _retrainings(pipeline: Pipeline, lake: Lake, journal: dict[str, Any]) -> list[dict[str, Any]]:
    """Every judgement of the gate, with its cause and what the run cost."""
    import polars as pl

    runs = {run["day"]: run for run in journal["runs"] if run["job"].endswith("__retrain")}
    found = []
    for entry in Ledger(lake).entries(pipeline.name).filter(pl.col("event") == "gate").iter_rows(named=True):
        evidence = json.loads(entry["evidence"])
        run = runs.get(str(entry["day"]), {})
        found.append(
            {
                "day": entry["day"],
                "cause": evidence["cause"],
                "promoted": evidence["promote"],
                "version": entry["version"],
                "replaces": entry["replaces"],
                "improvement": evidence["improvement"],
                "reason": entry["reason"],
                "seconds": round(run.get("seconds", 0.0), 1),
                "cpu_seconds": round(run.get("cpu_seconds", 0.0), 1),
            }
        )
    return found


def _median_night(journal: dict[str, Any]) -> float:
    import statistics

    nights = [run["seconds"] for run in journal["runs"] if run["job"].endswith("__nightly")]
    return round(statistics.median(nights), 2) if nights else 0.0


def _against_never(pipeline: Pipeline, policies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """How much lower each policy's mean loss is than without retraining, on the same events, with an interval."""
    import numpy as np

    from lifecycle.gate import improvement_draws
    from lifecycle.losses import row_losses

    if "never" not in policies:
        return {}
    key = list(pipeline.spine.key)
    never = policies["never"]["rows"]
    answers = {}
    for policy, scored in policies.items():
        both = never.select(*key, "label", "event_day", "score").join(
            scored["rows"].select(*key, other="score"), on=key, how="inner"
        )
        labels = both["label"].to_numpy()
        gain = row_losses(labels, both["score"].to_numpy(), pipeline.task)
        gain = gain - row_losses(labels, both["other"].to_numpy(), pipeline.task)
        draws = improvement_draws(gain, both["event_day"].to_numpy().astype("datetime64[D]"), 2000, seed=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        answers[policy] = {
            "gain_over_never": round(float(gain.mean()), 6),
            "gain_interval": [round(float(low), 6), round(float(high), 6)],
        }
    return answers


def _markdown(pipeline: Pipeline, policies: Mapping[str, dict[str, Any]]) -> str:
    parts = [_totals(pipeline, policies)]
    for name in DRAWN[pipeline.task]:
        parts.append(_by_month(policies, name))
    parts += [_retraining_table(policy, scored["retrainings"]) for policy, scored in policies.items()]
    return "\n\n".join(parts)


def _totals(pipeline: Pipeline, policies: Mapping[str, dict[str, Any]]) -> str:
    names = [name for name in COLUMNS[pipeline.task] if all(name in scored for scored in policies.values())]
    header = [
        "policy",
        "retrainings",
        *(name.replace("_", " ") for name in names),
        "gain over never (95 %)",
        "CPU s of retraining",
    ]
    rows = []
    for policy, scored in policies.items():
        gain = scored.get("gain_over_never")
        interval = scored.get("gain_interval", [0, 0])
        rows.append(
            [
                policy,
                str(max(0, len(scored["retrainings"]) - 1)),
                *(_figure(scored[name]) for name in names),
                "" if gain is None or policy == "never" else f"{gain:.4f} ({interval[0]:.4f} to {interval[1]:.4f})",
                f"{sum(entry['cpu_seconds'] for entry in scored['retrainings'][1:]):.0f}",
            ]
        )
    spans = {(str(scored["first_day"]), str(scored["last_day"]), scored["forecasts"]) for scored in policies.values()}
    about = "; ".join(f"{first} to {last}, {rows:,} forecasts" for first, last, rows in sorted(spans))
    return f"Forecasts as issued, {about}.\n\n{table(header, rows)}"


def _by_month(policies: Mapping[str, dict[str, Any]], name: str) -> str:
    months = sorted({str(month["month"]) for scored in policies.values() for month in scored["months"]})
    rows = []
    for policy, scored in policies.items():
        found = {str(month["month"]): month.get(name) for month in scored["months"]}
        rows.append([policy, *("" if found.get(month) is None else _figure(found[month]) for month in months)])
    return table([name.replace("_", " "), *(month[:7] for month in months)], rows)


def _retraining_table(policy: str, retrainings: list[dict[str, Any]]) -> str:
    rows = [
        [
            str(entry["day"]),
            short(entry["cause"]),
            f"version {entry['version']} serves"
            if entry["promoted"]
            else f"refused, version {entry['replaces']} stays",
            "" if entry["improvement"] is None else f"{entry['improvement']:+.4f}",
            f"{entry['seconds']:.0f}",
        ]
        for entry in retrainings
    ]
    return f"Retrainings, policy {policy}:\n\n" + table(["as of", "cause", "gate", "loss saved", "seconds"], rows)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _plots(pipeline: Pipeline, policies: Mapping[str, dict[str, Any]]) -> dict[str, bytes]:
    from lifecycle import plots

    months: list[date] = sorted({month["month"] for scored in policies.values() for month in scored["months"]})
    drawn = {}
    for name in DRAWN[pipeline.task]:
        lines = {}
        for policy, scored in policies.items():
            found = {month["month"]: month.get(name) for month in scored["months"]}
            lines[policy] = [found.get(month) for month in months]
        title = name.replace("_", " ")
        drawn[name] = plots.by_month(months, lines, f"{title[0].upper()}{title[1:]} of the forecasts as issued", title)
    return drawn


def _html(pipeline: Pipeline, text: str, plots: Mapping[str, bytes]) -> str:
    pictures = "".join(picture(name, png) for name, png in plots.items())
    body = "".join(html_block(block) for block in text.split("\n\n"))
    return html_page(f"Scoreboard of {pipeline.name}", pictures + body)
