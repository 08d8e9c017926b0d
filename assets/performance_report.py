"""The performance report: forecasts as issued against what happened, as far as it is known by the close of the day."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.hindcasts import read_with_hindcasts
from assets.issued import issued_seconds
from assets.performance_history import kept_columns, past_errors, past_estimates, performance_table, read_past
from assets.performance_page import Night, Served, outlook_text, page
from assets.promised import promised_by_version, read_labelled
from lifecycle.calendar import WEEK_DAYS
from lifecycle.pipeline import Pipeline, Task
from resources.lake import Lake
from resources.registry import Registry

if TYPE_CHECKING:
    import polars as pl

    from lifecycle.performance.concept import DayErrors

PERFORMS, NO_CONCEPT_DRIFT, ESTIMATED_TO_PERFORM = "performs", "no_concept_drift", "estimated_to_perform"


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "performance_report")
    window = pipeline.monitor.performance_days

    @dg.multi_asset(
        name=f"{pipeline.name}__performance_report",
        specs=[
            stage.spec(
                pipeline,
                "performance_report",
                group="monitoring",
                description="How good the forecasts that the version that serves made about the last "
                f"{window} days were, on labels known by the close of the day; joined to the forecasts as they were "
                "issued. Beside it whether the champion's errors grow "
                "beyond what it announces itself, whether more or less happens than it forecasts, with and without "
                "news that came later, and what the week that ends with tomorrow's forecasts is estimated to be worth "
                "before all its labels have come. The table has a column per metric.",
                kinds={"polars", "deltalake"},
                deps=[
                    stage.trailing(stage.key(pipeline, "batch_predictions"), _window(pipeline)),
                    stage.trailing(stage.key(pipeline, "validated", pipeline.label.table), _window(pipeline)),
                    stage.trailing(stage.key(pipeline, "hindcasts"), _window(pipeline) - 1),
                ],
                columns=[
                    ("day", "date", "close of this day"),
                    ("rows", "int", "forecasts with a label"),
                    ("error_rate", "float", "share of the day's forecasts without a score though a version served"),
                    ("batch_seconds", "float", "how long they took when they were issued: features and scores"),
                    ("forecasts_per_second", "float", "how many a second that is"),
                    ("errors", "string", "limits exceeded beyond sampling error, as JSON"),
                    ("slices", "string", "the same metrics per slice, as JSON"),
                    ("model_version", "int", "the version that forecast last"),
                    ("settled_excess", "float", "its mean loss beyond what it announced, on the events of `week_to`"),
                    ("settled_level", "float", "what happened minus what it forecast; by classification in log-odds"),
                    ("settled_news", "float", "what it hindcast of them minus what it forecast, likewise"),
                    ("estimated", "float", "AUC or R² of the week that ends tomorrow, estimated before all its labels"),
                    ("estimated_low", "float", "lower end of its band"),
                    ("estimated_high", "float", "upper end of its band"),
                    ("estimated_from", "date", "first day of that week with a forecast"),
                    ("estimated_to", "date", "last day of that week"),
                    ("week_ranking", "float", "AUC or R² realised in the newest week whose labels have come"),
                    ("week_to", "date", "last day of that week"),
                ],
            )
        ],
        check_specs=[
            stage.check(
                pipeline,
                asset,
                PERFORMS,
                "The forecasts rank and are calibrated as on the days the champion was judged on and its first ones of "
                "service, and beat a constant. A failure beyond sampling error may ask for a retraining.",
            ),
            stage.check(
                pipeline,
                asset,
                NO_CONCEPT_DRIFT,
                "The champion's errors have not grown beyond what its forecasts announce, and as much happens as it "
                f"forecasts (CUSUM over days, one false alarm in {pipeline.monitor.concept_false_alarm_days:g} days "
                "each; for large changes the level of the last days apart from later news, one false night in "
                f"{1 / pipeline.monitor.level_false_share:g}). A failure may ask for a retraining.",
            ),
            stage.check(
                pipeline,
                asset,
                ESTIMATED_TO_PERFORM,
                "The week that ends with tomorrow's forecasts is estimated to rank as on the days the champion was "
                "judged on and its first ones of service. An error only if estimates have earned trust, see the grade.",
            ),
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def performance_report(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], registry: dg.ResourceParam[Registry]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        import polars as pl

        days = stage.asked_days(context)
        first, last = stage.contiguous(days)
        past = read_past(pipeline, first, lake)
        nights: dict[date, Night] = {}
        for day in days:
            nights[day] = _night(pipeline, day, past, lake, registry)
            past = pl.concat([past, _row(day, nights[day]).select(past.columns)])
        table = pl.concat([_row(day, night) for day, night in nights.items()], how="diagonal_relaxed")
        lake.write(performance_table(pipeline), table, first, last)
        yield dg.MaterializeResult(asset_key=asset, metadata=page(pipeline, last, nights[last], lake))
        yield from _checks(asset, nights[last])

    return dg.Definitions(assets=[performance_report])


def _window(pipeline: Pipeline) -> int:
    """Days of forecasts that a night looks back over: those judged, those whose labels may have come since, and the
    last week whose labels have come.
    """
    return max(pipeline.monitor.performance_days, WEEK_DAYS) + pipeline.label.longest_wait_days


def _night(pipeline: Pipeline, day: date, past: "pl.DataFrame", lake: Lake, registry: Registry) -> Night:
    import polars as pl

    from lifecycle.performance.concept import concept_drift, errors_by_day
    from lifecycle.performance.outlook import last_week, outlook, realised_ranking
    from lifecycle.performance.realised import realised

    rule, task = pipeline.monitor, pipeline.task
    issued, served = _issued(pipeline, day, lake)
    happened = issued.filter(pl.col("day") <= day)
    judging_from = day - timedelta(days=rule.performance_days - 1)
    week_to = day - timedelta(days=pipeline.label.longest_wait_days)
    week_ranking = realised_ranking(last_week(happened, week_to), task)
    # The version that forecast last is the one that is judged; tomorrow's forecasts are not judged yet. What another
    # did is not what it promised, nor what acting from its threshold on was worth.
    forecast = happened.filter(pl.col("score").is_not_null())["model_version"]
    version = registry.version(pipeline.name, forecast[-1]) if forecast.len() else None
    judging = happened.filter(pl.col("day") >= judging_from)
    if version is None:
        report = realised(judging, rule, None, task, costs=pipeline.costs, slices=pipeline.slices)
        return Night(report, judging, served, None, None, None, week_to, week_ranking)
    judging = judging.filter((pl.col("model_version") == version.number) | pl.col("score").is_null())
    reference, judged = registry.reference(version), registry.judged(version)
    own = issued.filter(pl.col("model_version") == version.number)
    seen = {**_judged_errors(judged, task), **past_errors(past, version.number, day, rule.concept_days)}
    errors = {**seen, **errors_by_day(own, task)}
    concept = concept_drift(errors, rule, day, pipeline.label.longest_wait_days)
    promised = promised_by_version(pipeline, version, reference, judged, judging_from, day, lake)
    report = realised(
        judging, rule, reference, task, version.threshold, pipeline.costs, pipeline.slices, promise=promised
    )
    estimates = past_estimates(past, day, rule.concept_days, week_to, week_ranking)
    ahead = outlook(judged, own, estimates, promised, rule, task, day, pipeline.gate.window_days, version.threshold)
    return Night(report, judging, served, version, concept, ahead, week_to, week_ranking)


def _issued(pipeline: Pipeline, day: date, lake: Lake) -> "tuple[pl.DataFrame, Served]":
    """Forecasts by the day of their event up to tomorrow, and labels known by the close, see ``read_labelled``.

    Beside them how the forecasts of the last day came about.
    """
    import polars as pl

    first, tomorrow = day - timedelta(days=_window(pipeline) - 1), day + timedelta(days=1)
    issued = read_with_hindcasts(pipeline, read_labelled(pipeline, first, tomorrow, day, lake), first, day, lake)
    tonight = issued.filter(pl.col("day") > day, pl.col("model_version").is_not_null())
    finite = pl.col("score").is_finite().fill_null(value=False)
    failed = 1 - tonight.select(finite.mean()).item() if tonight.height else None
    seconds = issued_seconds(pipeline, lake, [day]).get(day) if tonight.height else None
    # A score that is no number is none.
    scores = pl.when(pl.col("score").is_finite()).then("score").alias("score")
    return issued.with_columns(scores), Served(tonight.height, failed, seconds)


def _judged_errors(judged: "pl.DataFrame | None", task: Task) -> "dict[date, DayErrors]":
    from lifecycle.performance.concept import errors_by_day

    return {} if judged is None else errors_by_day(judged, task)


def _row(day: date, night: Night) -> "pl.DataFrame":
    """The night as a row of the table."""
    import polars as pl

    report = night.report
    metrics = {name: None if value is None else float(value) for name, value in report.metrics.items()}
    made = night.outlook.estimate if night.outlook else None
    name = "auc" if report.task == "classification" else "r2"
    low, high = made.intervals.get(name, (None, None)) if made else (None, None)
    # Of a day whose labels have come: those that are late say more than those that are not.
    settled = night.concept.errors_by_day.get(night.week_to) if night.concept else None
    values: dict[str, Any] = {
        "day": day,
        **metrics,
        **night.served.numbers,
        "rows": report.rows,
        "errors": json.dumps(list(report.errors)),
        "slices": report.slices.write_json() if report.slices.height else "[]",
        "model_version": night.version.number if night.version else None,
        "settled_excess": settled.excess if settled else None,
        "settled_level": settled.level if settled else None,
        "settled_news": settled.news if settled else None,
        "estimated": made.values.get(name) if made else None,
        "estimated_low": low,
        "estimated_high": high,
        "band_widened_by": made.widened_by if made else None,
        "estimated_from": made.first_day if made else None,
        "estimated_to": made.last_day if made else None,
        "week_ranking": night.week_ranking,
        "week_to": night.week_to,
    }
    types = {**kept_columns(), "rows": pl.Int64(), "errors": pl.String(), "slices": pl.String()}
    return pl.DataFrame([values], schema={name: types.get(name, pl.Float64()) for name in values})


def _checks(asset: dg.AssetKey, night: Night) -> Iterator[dg.AssetCheckResult]:
    report = night.report
    yield stage.passed(
        asset,
        PERFORMS,
        not (report.errors or report.warnings),
        " ".join([*report.errors, *report.warnings])
        or report.reason
        or f"{report.rows} forecasts with labels, no limit exceeded",
        warn=not report.errors,
        metadata={name: stage.number(value) for name, value in report.metrics.items() if value is not None},
    )
    concept, ahead = night.concept, night.outlook
    texts = [*concept.errors, *concept.warnings] if concept else []
    message = f"no change on {len(concept.errors_by_day)} days" if concept else "no version has forecast yet"
    yield stage.passed(
        asset, NO_CONCEPT_DRIFT, not texts, " ".join(texts) or message, warn=not (concept and concept.errors)
    )
    texts = [*ahead.errors, *ahead.warnings] if ahead else []
    yield stage.passed(
        asset,
        ESTIMATED_TO_PERFORM,
        not texts,
        " ".join(texts) or outlook_text(ahead),
        warn=not (ahead and ahead.errors),
        metadata={"grade": ahead.grade.verdict} if ahead else {},
    )
