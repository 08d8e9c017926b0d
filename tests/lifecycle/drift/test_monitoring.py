"""A day and its window against the champion's reference."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from lifecycle.drift.column_reports import slope
from lifecycle.drift.day_report import ColumnReport, DayReport
from lifecycle.drift.harm import announced_skill
from lifecycle.drift.monitored_rows import LEAST_SKILL
from lifecycle.drift.monitoring import Champion, monitor_day
from lifecycle.drift.reference import Reference, profile
from lifecycle.drift.seasonal import seasonal_reference
from lifecycle.drift.significance import day_tests, false_discovery_q
from lifecycle.features import Feature
from lifecycle.pipeline import MonitorRule

FIRST = date(2024, 1, 1)
FEATURES = (
    Feature("delay", "float", "minutes", -60, 600),
    Feature("heat", "float", "of no use to the model"),
    Feature("load", "float", "works on week days"),
    Feature("origin", "string", ""),
)
RULE = MonitorRule(prediction_psi=0.2, feature_psi=0.2)
IMPORTANCES = {"delay": 0.08, "heat": 0.0, "load": 0.001, "origin": 0.0}


def rows(first: int, days: int, seed: int = 0, per_day: int = 200) -> pl.DataFrame:
    """Days that each have a level of their own, and a load that is lower at week-ends. The model knows the truth."""
    random = np.random.default_rng((seed, first))
    place = np.repeat(np.arange(days), per_day)
    day = np.array([FIRST + timedelta(days=first + n) for n in range(days)])
    weekend = np.array([d.weekday() >= 5 for d in day])
    delay = random.normal(8, 15, place.size) + random.normal(0, 3, days)[place]
    score = 1 / (1 + np.exp(1.5 - delay / 12))
    return pl.DataFrame(
        {
            "day": pl.Series(day.tolist()).gather(place),
            "delay": delay,
            "heat": random.normal(20, 5, place.size) + random.normal(0, 1, days)[place],
            "load": random.normal(50, 5, place.size) - 20 * weekend[place],
            "origin": random.choice(["JFK", "EWR", "LGA"], place.size),
            "score": score,
            "label": (random.random(place.size) < score).astype(float),
        }
    )


JUDGED = rows(0, 28)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return profile(JUDGED, FEATURES, JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {})


def model(asked: pl.DataFrame) -> np.ndarray:
    """The champion, which knows the truth and takes what misses for zero."""
    return 1 / (1 + np.exp(1.5 - asked["delay"].fill_null(0.0).to_numpy() / 12))


def monitor(reference: Reference, window: pl.DataFrame, **changes: object) -> DayReport:
    features, seasonal = changes.pop("features", FEATURES), changes.pop("seasonal", None)
    given = {"judged": JUDGED, "importances": IMPORTANCES, "threshold": 0.5, "score": model, **changes}
    champion = Champion(reference, **given)  # type: ignore[arg-type]
    return monitor_day(champion, window, RULE, "classification", features, seasonal)  # type: ignore[arg-type]


def monitor_with(
    reference: Reference, window: pl.DataFrame, served: pl.DataFrame | None, **changes: object
) -> DayReport:
    champion = Champion(reference, **{"judged": JUDGED, "importances": IMPORTANCES, "score": model, **changes})  # type: ignore[arg-type]
    return monitor_day(champion, window, RULE, "classification", FEATURES, served=served)


def column(report: DayReport, name: str) -> ColumnReport:
    return next(column for column in report.columns if column.name == name)


def test_a_window_like_the_reference_raises_nothing_and_shows_every_statistic(reference: Reference) -> None:
    report = monitor(reference, rows(28, 14))
    assert (report.errors, report.warnings, report.reason) == ((), (), None)
    table = report.table()
    assert table["name"].to_list()[:2] == ["prediction", "label"]
    numeric = table.row(by_predicate=pl.col("name") == "delay", named=True)
    empty = {name for name, value in numeric.items() if value is None}
    not_asked = {
        "seasonal_psi",
        "seasonal_p_value",
        "drifted_since",
        "jump_harm",
        "jump_group",
        "jump_how",
        "jump_value",
        "jump_since",
    }
    assert empty == {"chi_square", "chi_square_p_value"} | not_asked
    origin = table.row(by_predicate=pl.col("name") == "origin", named=True)
    assert (origin["chi_square"] > 0, origin["kolmogorov_smirnov"], origin["distinct_current"]) == (True, None, 3)
    assert report.predictions_day.rows == 200
    assert report.predictions_window.acted_share == pytest.approx(report.predictions_judged.acted_share, abs=0.1)  # type: ignore[union-attr]
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["day"] == "2024-02-11"


def test_stationary_days_are_hardly_ever_called(reference: Reference) -> None:
    reports = [monitor(reference, rows(28, 14, seed)) for seed in range(1, 21)]
    assert sum(bool(report.errors) for report in reports) == 0
    assert sum(bool(report.warnings) for report in reports) <= 2


def test_drift_that_costs_nothing_is_a_warning_however_large(reference: Reference) -> None:
    report = monitor(reference, rows(28, 14).with_columns(pl.col("heat") + 12))
    assert report.errors == ()
    (warning,) = report.warnings
    assert warning.startswith("Feature heat drifted: PSI ")
    assert "; mean 20.01 → 31.7" in warning
    assert "; since 2024-01-29; " in warning
    assert column(report, "heat").drifted_since == date(2024, 1, 29)


def test_a_unit_that_changes_within_the_reference_s_range_is_an_error_on_its_second_day(reference: Reference) -> None:
    window = rows(28, 14)
    hours = pl.when(pl.col("day") > date(2024, 2, 9)).then(pl.col("delay") / 60).otherwise("delay")
    report = monitor(reference, window.with_columns(delay=hours))
    assert column(report, "delay").harm is not None
    assert column(report, "delay").harm < column(report, "delay").jump_harm  # type: ignore[operator]
    assert "it jumped, which costs" in report.errors[0]
    assert report.features[0].name == "delay"
    assert report.features[0].rank > max(feature.rank for feature in report.features[1:])
    assert report.features[0].jump_since == date(2024, 2, 10)
    heat = pl.when(pl.col("day") > date(2024, 2, 9)).then(pl.col("heat") / 60).otherwise("heat")
    assert monitor(reference, window.with_columns(heat=heat)).errors == ()  # of no use to the model anyway


def test_a_unit_in_which_days_hide_is_told_by_values_that_never_came() -> None:
    def whole(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(delay=(pl.col("delay") + 40 * (pl.col("day").dt.day() % 3)).round())

    judged, before = whole(JUDGED), whole(rows(28, 42))
    of_judged = profile(judged, FEATURES, judged["score"].to_numpy(), judged["label"].to_numpy(), {})
    champion = Champion(of_judged, judged, IMPORTANCES, 0.5, model)
    window = whole(rows(70, 14))
    feet = pl.when(pl.col("day") > date(2024, 3, 21)).then(pl.col("delay") * 0.93 + 0.4).otherwise("delay")
    quiet, broken = (
        monitor_day(champion, frame, RULE, "classification", FEATURES, before=before)
        for frame in (window, window.with_columns(delay=feet))
    )
    assert column(quiet, "delay").jump_how is None
    assert column(broken, "delay").jump_how == "unseen"
    assert "it holds values that it never held, as after a change of unit" in broken.errors[0]


LATE = float(JUDGED["delay"].max())  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "told"), [(LATE, f"the value {LATE} keeps"), (None, "rows without a value keep")])
def test_what_sticks_in_some_rows_is_an_error_that_names_the_value(value: float | None, told: str) -> None:
    def with_gaps(frame: pl.DataFrame) -> pl.DataFrame:
        told = pl.col("day").dt.ordinal_day() % 9 > 0
        return frame.with_columns(delay=pl.when(told).then("delay"))

    judged, before, window = (with_gaps(frame) for frame in (JUDGED, rows(28, 42), rows(70, 14)))
    champion = Champion(
        profile(judged, FEATURES, judged["score"].to_numpy(), judged["label"].to_numpy(), {}),
        judged,
        IMPORTANCES,
        0.5,
        model,
    )
    stuck = (pl.col("day") > date(2024, 3, 20)) & ((pl.int_range(pl.len()) * 0.618) % 1 < 0.5)
    broken = window.with_columns(delay=pl.when(stuck).then(pl.lit(value, pl.Float64)).otherwise("delay"))
    quiet, loud = (
        monitor_day(champion, frame, RULE, "classification", FEATURES, before=before) for frame in (window, broken)
    )
    assert quiet.errors == ()
    assert column(loud, "delay").jump_how == "repeated"
    assert f"{told} coming back" in loud.errors[0]


def test_skill_and_what_broken_values_cost_are_asked_of_the_days_since_served_too(reference: Reference) -> None:
    weak = JUDGED.with_columns(label=pl.col("label").shuffle(seed=1))  # a fortnight in which nobody could tell
    served, window = rows(28, 42), rows(70, 14)
    announced = LEAST_SKILL * announced_skill(JUDGED["score"].to_numpy(), "classification")
    assert monitor(reference, window, judged=weak).harm_limit == pytest.approx(0.1 * announced)
    alone, both = (monitor_with(reference, window, served=given) for given in (None, served))
    assert both.harm_limit is not None
    assert alone.harm_limit is not None
    assert both.harm_limit == pytest.approx(alone.harm_limit, rel=0.3)
    weak_then_served = monitor_with(reference, window, judged=weak, served=served)
    assert weak_then_served.harm_limit is not None
    assert 0.1 * announced <= weak_then_served.harm_limit < both.harm_limit
    for other in (served.drop("delay"), served.with_columns(pl.col("heat").cast(pl.String))):  # another feature set
        assert monitor_with(reference, window, served=other).harm_limit == alone.harm_limit
    assert monitor_with(reference, window, served=JUDGED).harm_limit == alone.harm_limit  # a day counts once


def test_weeks_in_which_a_column_was_broken_or_the_model_wrong_do_not_hide_what_is_broken(reference: Reference) -> None:
    served, window = rows(28, 42), rows(70, 14)
    healthy = monitor_with(reference, window, served=served)
    assert healthy.harm_limit is not None
    wrong = monitor_with(reference, window, served=served.with_columns(1 - pl.col("label")))
    assert wrong.harm_limit is not None
    assert wrong.harm_limit > 0.3 * healthy.harm_limit
    assert wrong.errors == ()
    gone = pl.lit(None, pl.Float64).alias("delay")
    unknown = 1 / (1 + np.exp(1.5))  # what the model makes of it
    blind = served.with_columns(gone, score=pl.lit(unknown))
    lasting = monitor_with(reference, window.with_columns(gone), served=blind)
    sudden = monitor_with(reference, window.with_columns(gone), served=served)
    harms = [column(report, "delay").loss_change for report in (lasting, sudden)]
    assert harms[0] == pytest.approx(harms[1], rel=0.3)
    assert lasting.errors


def test_what_drifts_slowly_has_not_jumped(reference: Reference) -> None:
    weeks = rows(28, 56)
    slow = pl.col("delay") + 0.25 * (pl.col("day") - pl.lit(weeks["day"][0])).dt.total_days()
    weeks = weeks.with_columns(delay=slow)
    last = weeks["day"][-1] - timedelta(days=14)
    past = seasonal_reference(reference, weeks.filter(pl.col("day") < weeks["day"][-1]), 6)
    with_past = monitor(reference, weeks.filter(pl.col("day") > last), seasonal=past)
    without = monitor(reference, weeks.filter(pl.col("day") > last))
    assert column(with_past, "delay").drifted
    assert column(with_past, "delay").jump_harm is None
    assert column(without, "delay").jump_harm is not None  # held against the judged days, which are months old by then


def test_a_harder_mix_that_the_model_announces_itself_is_no_harm(reference: Reference) -> None:
    window = rows(28, 14).with_columns(pl.col("delay") + 12)
    report = monitor(reference, window.with_columns(score=1 / (1 + (1.5 - pl.col("delay") / 12).exp())))
    delay = column(report, "delay")
    assert delay.loss_change is not None
    assert delay.loss_change > 0.03
    assert (delay.drifted, delay.harmful, report.errors) == (True, False, ())


def test_drift_to_where_the_model_is_wrong_is_an_error(reference: Reference) -> None:
    wrong = JUDGED.with_columns(score=pl.when(pl.col("heat") > 22).then(1 - pl.col("score")).otherwise("score"))
    report = monitor(reference, rows(28, 14).with_columns(pl.col("heat") + 6), judged=wrong)
    assert column(report, "heat").harmful
    assert report.errors[0].startswith("Feature heat drifted, which does harm: PSI ")


def test_days_that_cost_no_more_than_some_before_do_not_make_an_error(reference: Reference) -> None:
    wrong = JUDGED.with_columns(score=pl.when(pl.col("heat") > 22).then(1 - pl.col("score")).otherwise("score"))
    heat = pl.when((pl.col("day").dt.day() % 7).is_in([3, 4])).then(pl.col("heat") + 6).otherwise("heat")
    window, before = rows(42, 14).with_columns(heat), rows(28, 14)
    unlike = seasonal_reference(reference, before, 6, period_days=1)
    like = seasonal_reference(reference, before.with_columns(pl.col("heat") + 8), 6, period_days=1)
    new, known = (monitor(reference, window, judged=wrong, seasonal=past, score=None) for past in (unlike, like))
    assert [column(report, "heat").harmful for report in (new, known)] == [True, False]
    assert column(known, "heat").harm == column(new, "heat").harm


def test_days_that_were_judged_count_once_though_they_are_past_too() -> None:
    wrong = JUDGED.with_columns(score=pl.when(pl.col("heat") > 22).then(1 - pl.col("score")).otherwise("score"))
    odd = wrong.with_columns(heat=pl.when(pl.col("day") == FIRST).then(pl.col("heat") + 8).otherwise("heat"))
    of_odd = profile(odd, FEATURES, odd["score"].to_numpy(), odd["label"].to_numpy(), {})
    heat = pl.when((pl.col("day").dt.day() % 7).is_in([3, 4])).then(pl.col("heat") + 4).otherwise("heat")
    window, since = rows(42, 14).with_columns(heat), rows(28, 14)
    apart, among = (
        monitor(of_odd, window, judged=odd, seasonal=seasonal_reference(of_odd, before, 6, period_days=1), score=None)
        for before in (since, pl.concat([odd, since.select(odd.columns)]))
    )
    assert column(among, "heat").harmful_days == column(apart, "heat").harmful_days > 0


@pytest.mark.parametrize("share", [1.0, 0.4, 0.25])
def test_what_stays_broken_stays_an_error(share: float) -> None:
    reference = profile(JUDGED, FEATURES, JUDGED["score"].to_numpy(), JUDGED["label"].to_numpy(), {}).bounded(FEATURES)
    champion, start = Champion(reference, JUDGED, IMPORTANCES, 0.5, model), FIRST + timedelta(days=72)
    hit = (pl.int_range(pl.len()) % 100 < share * 100) & (pl.col("day") >= start)
    every = pl.concat([rows(28, 42), rows(70, 20)]).with_columns(
        delay=pl.when(hit).then(pl.lit(5000.0)).otherwise("delay")
    )
    every = every.with_columns(score=model(every))
    for night in range(2, 18):
        last = start + timedelta(days=night - 1)
        window = every.filter(pl.col("day").is_between(last - timedelta(days=13), last))
        past = every.filter(pl.col("day") < last)
        report = monitor_day(
            champion, window, RULE, "classification", FEATURES, seasonal_reference(reference, past, 6), past
        )
        assert column(report, "delay").harmful, night


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (pl.col("delay") * 60, "outside its declared range"),
        (pl.lit(8.0), "one value all day on 3 days"),
        (pl.lit(None, dtype=pl.Float64), "Feature delay drifted, which does harm"),
    ],
    ids=["unit", "stuck", "missing"],
)
def test_a_sensor_that_breaks_is_an_error_on_its_third_day(reference: Reference, fault: pl.Expr, sentence: str) -> None:
    broken = pl.col("day") > date(2024, 2, 8)
    window = rows(28, 14).with_columns(delay=pl.when(broken).then(fault).otherwise("delay"))
    report = monitor(reference, window)
    assert any(text.startswith(("Feature delay drifted, ", "Feature delay jumped, ")) for text in report.errors)
    assert any(sentence in text for text in (*report.errors, *report.warnings))
    assert column(report, "delay").drifted_since == date(2024, 2, 9)
    odd = monitor(reference, window.filter(pl.col("day") <= date(2024, 2, 9)))
    assert odd.errors == ()  # one odd day is none


def test_a_week_end_is_drift_by_itself_and_none_beside_other_week_ends(reference: Reference) -> None:
    week = JUDGED.filter(pl.col("day").dt.weekday() < 6)
    weeks = profile(week, FEATURES, week["score"].to_numpy(), None, {})
    saturday = rows(47, 1)
    assert column(monitor(weeks, saturday), "load").day_p_value < 0.05  # type: ignore[operator]
    past = pl.concat([rows(0, 28), rows(28, 19)])
    found = column(monitor(reference, rows(28, 20), seasonal=seasonal_reference(reference, past, 6)), "load")
    assert found.seasonal_p_value is not None
    assert found.seasonal_p_value > 0.05
    assert found.drifted_since is None


def test_new_values_and_missing_columns_are_named(reference: Reference) -> None:
    window = rows(28, 14).with_columns(origin=pl.when(pl.col("heat") > 25).then(pl.lit("SWF")).otherwise("origin"))
    report = monitor(reference, window.drop("load"), features=(*FEATURES, Feature("wind", "float", "")))
    assert (report.absent, report.unknown) == (("load",), ("wind",))
    assert column(report, "origin").new_categories == ("SWF",)
    assert any("values the reference never saw: SWF" in text for text in report.warnings)
    assert any("load" in text for text in report.warnings)


def test_a_column_of_another_type_is_named_and_the_others_are_compared(reference: Reference) -> None:
    report = monitor(reference, rows(28, 14).with_columns(heat=pl.lit("warm")))
    assert report.absent == ("heat",)
    assert len(report.features) == 3


def test_without_judged_rows_moved_predictions_are_an_error_and_moved_features_a_warning(reference: Reference) -> None:
    window = rows(28, 14).with_columns(pl.col("heat") + 12, pl.col("score") ** 0.3)
    report = monitor(reference, window, judged=None, importances={})
    assert [text.split(" drifted")[0] for text in report.errors] == ["Predictions"]
    assert "not known" in report.warnings[0]
    assert (report.harm_limit, report.predictions_judged) == (None, None)


def test_an_empty_window_gives_a_reason(reference: Reference) -> None:
    report = monitor(reference, JUDGED.clear())
    assert report.reason == "The window holds no rows, so there is nothing to compare."
    assert (report.table().height, report.errors, report.prediction) == (0, (), None)
    json.dumps(report.to_dict(), allow_nan=False)


def test_what_is_constant_empty_or_of_one_class_gives_defined_results() -> None:
    odd = JUDGED.with_columns(heat=pl.lit(1.0), load=pl.lit(None, dtype=pl.Float64), origin=pl.lit(None), label=0.0)
    reference = profile(odd, FEATURES, odd["score"].to_numpy(), odd["label"].to_numpy(), {})
    for window in (odd, rows(28, 14), rows(28, 1), odd.with_columns(score=pl.lit(None, dtype=pl.Float64))):
        report = monitor(reference, window, judged=odd)
        assert {feature.name for feature in report.features} == {feature.name for feature in FEATURES}
        json.dumps(report.to_dict(), allow_nan=False)
    empty = rows(28, 14).with_columns(delay=pl.lit(None, dtype=pl.Float64), heat=pl.lit(3.0))
    found = column(monitor(reference, empty), "delay")
    assert (found.missing_current, found.kolmogorov_smirnov, found.wasserstein) == (1.0, None, None)


def test_a_reference_without_days_is_judged_by_size_alone() -> None:
    plain = profile(JUDGED.drop("day"), FEATURES, JUDGED["score"].to_numpy(), None, {})
    report = monitor(plain, rows(28, 14).with_columns(pl.col("heat") + 12))
    heat = column(report, "heat")
    assert (heat.drifted, heat.q_value, heat.p_value, report.label) == (True, None, None, None)


def test_a_reference_of_earlier_times_is_read_and_lacks_only_the_new_distances(reference: Reference) -> None:
    raw = json.loads(reference.to_json())
    del raw["labels"]
    for each in (*raw["features"], raw["predictions"]):
        for name in ("sketch", "day_counts", "constant_days", "distinct"):
            each.pop(name, None)
    old = monitor(Reference.from_json(json.dumps(raw)), rows(28, 14))
    assert column(old, "delay").kolmogorov_smirnov is None
    assert column(old, "delay").psi is not None
    assert Reference.from_json(reference.to_json()) == reference


def test_a_window_without_days_or_scores_is_refused_by_name(reference: Reference) -> None:
    with pytest.raises(ValueError, match=r"window lacks the columns \['score'\]"):
        monitor(reference, JUDGED.drop("score"))
    with pytest.raises(ValueError, match=r"judged sample lacks the columns \['label'\]"):
        monitor(reference, JUDGED, judged=JUDGED.drop("label"))


def test_days_that_differ_are_no_drift_where_rows_are_taken_to_be_independent() -> None:
    """Of days drawn alike, about five in a hundred are called at 5 %, though a plain test calls nearly all."""
    random = np.random.default_rng(4)
    called = naive = 0
    for _ in range(300):
        shares = random.dirichlet(np.full(10, 20.0), size=28)
        days = np.array([random.multinomial(500, share) for share in shares])
        tests = day_tests(days[:14], days[14:].sum(axis=0)[None, :], np.array([14]))
        assert tests is not None
        called += tests.p_values[0] < 0.05
        statistic = tests.statistics[0] * 3500
        naive += statistic > 16.9
        assert tests.design_effect > 1
    assert 2 <= called <= 30
    assert naive > 250


def test_days_that_follow_each_other_closely_are_not_taken_for_independent_ones() -> None:
    random, called = np.random.default_rng(6), 0
    for _ in range(200):
        level = np.zeros(28)
        for place in range(1, 28):
            level[place] = 0.6 * level[place - 1] + random.normal(0, 0.3)
        share = 1 / (1 + np.exp(-level))
        late = random.binomial(500, share)
        days = np.column_stack([late, 500 - late])
        tests = day_tests(days[:14], days[14:].sum(axis=0)[None, :], np.array([14]))
        assert tests is not None
        called += tests.p_values[0] < 0.05
    assert called <= 40  # 9 % here; an independent-days test calls 30 %


def test_of_many_true_nulls_and_some_drifts_the_false_calls_are_few() -> None:
    q_values = false_discovery_q(np.array([1e-6, 1e-5, *np.linspace(0.02, 1, 48)]))
    assert (q_values <= 0.05).sum() == 2
    assert np.isnan(false_discovery_q(np.array([np.nan]))).all()
    assert slope(np.array([1.0, np.nan]), np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]")) is None
