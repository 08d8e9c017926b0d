"""A day's till was misread; the day lands again, repaired: what is touched is listed, and only that is made again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from assets.issued import read_issued
from lifecycle.blast_radius import Radius
from lifecycle.calendar import days_between
from pipelines.blast_radius import Project, described, document, repair
from pipelines.driver import NIGHTLY_SENSOR, Driver
from pipelines.event_log import evaluations, newest_record
from pipelines.rematerialize import Rematerializer, Step, landed_beside, not_landed
from pipelines.retraining import drift_checks, errors_of, performance_checks
from resources.configured import plain_clients
from resources.landing import Landing
from resources.settings import Settings
from tests.tiny import FIRST_DAY, TINY, day_rows, last_check, write_day, write_rows

pytestmark = pytest.mark.slow

HISTORY_UNTIL = date(2024, 2, 27)
FIRST_NIGHT = date(2024, 2, 28)
BROKEN = FIRST_NIGHT + timedelta(days=2)
SECOND_MODEL = FIRST_NIGHT + timedelta(days=3)
LAST_NIGHT = FIRST_NIGHT + timedelta(days=4)
AFTER = days_between(BROKEN, LAST_NIGHT)
# One hour of the night before is delivered with the day after the broken one.
LATE_SLOT, LATE_FROM, LATE_TO = "market-2024-02-29-12", BROKEN - timedelta(days=1), BROKEN + timedelta(days=1)
WHAT = f"raw/orders:{BROKEN}"

Files = dict[str, dict[date, frozenset[str]]]


@dataclass
class Story:
    """What there was before the repair, what was listed, and what there is after it."""

    driver: Driver
    project: Project
    radius: Radius
    todo: list[Step]
    before: Files
    issued: pl.DataFrame
    lines: list[str]
    record: int

    def changed(self) -> dict[str, list[date]]:
        """The days of each table whose files are others than before."""
        after = files(self.driver)
        found = {}
        for table, now in after.items():
            then = self.before.get(table, {})
            days = sorted(day for day in then.keys() | now.keys() if then.get(day) != now.get(day))
            if days:
                found[table] = days
        return found

    def forecasts(self, day: date) -> pl.DataFrame:
        return self.driver.lake.read(f"{TINY.name}/batch_predictions", day, day).sort("slot_id")


def files(driver: Driver) -> Files:
    root = driver.settings.lake / TINY.name
    tables = [str(Path(path).relative_to(root)) for path, folders, _ in os.walk(root) if "_delta_log" in folders]
    return {table: driver.lake.files(f"{TINY.name}/{table}") for table in tables}


def land(driver: Driver, day: date, broken: bool = False) -> None:
    write_day(driver.settings.landing, day)
    rows = [row for row in day_rows(day)["orders"] if row["slot_id"] != LATE_SLOT]
    if day == LATE_TO:
        rows += [row for row in day_rows(LATE_FROM)["orders"] if row["slot_id"] == LATE_SLOT]
    if broken:
        rows = [row | {"orders": 3 * int(str(row["orders"]))} for row in rows]
    write_rows(driver.settings.landing, "orders", f"{day}.csv", rows)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    driver = Driver(TINY, Settings(home=tmp_path_factory.mktemp("misread")))
    for day in days_between(FIRST_DAY, HISTORY_UNTIL):
        driver.land(day)
    driver.build_history(FIRST_DAY, HISTORY_UNTIL)
    for day in days_between(FIRST_NIGHT, LAST_NIGHT):
        land(driver, day, broken=day == BROKEN)
        assert [ran.day for ran in driver.nights()] == [day]
        if day in (FIRST_NIGHT, SECOND_MODEL):
            assert driver.retrain(day).success
            let_serve(driver, day)
    record = newest_record(driver.instance)
    write_rows(driver.settings.landing, "orders", f"{BROKEN}.csv", day_rows(BROKEN)["orders"])
    before, issued = files(driver), driver.lake.read(f"{TINY.name}/batch_predictions")
    project = Project.opened(TINY, driver.settings)
    named, radius = project.radius(WHAT)
    todo = project.repair(named)
    landing = Landing(driver.settings.landing, driver.settings.root / "ingested")
    lines = list(repair(project, WHAT, todo, landing))
    yield Story(driver, project, radius, todo, before, issued, lines, record)
    driver.instance.dispose()


def let_serve(driver: Driver, day: date) -> None:
    """Whatever the gate said: the story needs two versions that served."""
    registry, ledger = plain_clients(driver.settings)
    newest = registry.versions(TINY.name)[0]
    if ledger.served_at(TINY.name, day) != newest.number:
        registry.promote(newest)
        ledger.record(TINY.name, day, "promotion", "a person", "for the story", newest.number)


def test_everything_made_from_the_day_is_listed_and_nothing_before_it(story: Story) -> None:
    found = {asset: list(days) for asset, days in story.radius.partitions.items()}

    assert found["raw/orders"] == [BROKEN]
    assert found["features/cafe_orders"] == AFTER
    assert found["batch_predictions"] == AFTER
    assert found["hindcasts"] == AFTER
    assert found["training_set"] == [SECOND_MODEL]
    assert found["deployment"] == [SECOND_MODEL]
    assert found["online_features"] == AFTER
    assert set(found["performance_report"]) == set(AFTER)
    assert "validated/slots" not in found
    assert "features/cafe_seats" not in found


def test_late_rows_are_held_against_the_days_they_could_have_come_on(story: Story) -> None:
    touches = story.radius.partitions["validated/orders"]

    assert list(touches) == [BROKEN, LATE_TO]
    assert "late rows" in touches[LATE_TO].because[0].why


def test_only_the_model_that_learnt_from_it_is_touched_and_the_one_live_each_day_is_named(story: Story) -> None:
    (version,) = story.radius.versions

    assert (version.number, version.role) == (2, "champion")
    assert (version.judged or 0) + (version.learnt or 0) > 0
    assert version.rewritten is False
    assert story.radius.champion_version is version
    assert story.radius.live == dict(zip(AFTER, (1, 1, 2), strict=True))


def test_only_what_was_listed_is_made_again(story: Story) -> None:
    listed = story.project.lineage.repairable({"raw/orders": [BROKEN]})
    changed = story.changed()

    assert set(changed.pop("issued_predictions")) <= set(AFTER)
    assert changed["features/cafe_orders"] == AFTER
    assert changed["batch_predictions"] == AFTER
    assert "hindcasts" not in changed, "they tell what came after the forecasts as issued"
    for table, days in changed.items():
        assert set(days) <= set(listed[table]), table
    untouched = {"training_set", "ledger", "validated/slots", "raw/slots", "features/cafe_seats"}
    assert not untouched & set(changed)
    assert story.driver.ledger.last_training_day(TINY.name) == SECOND_MODEL


def test_afterwards_all_is_as_if_the_day_had_been_right_at_once(story: Story, tmp_path: Path) -> None:
    other = Driver(TINY, Settings(home=tmp_path))
    for day in days_between(FIRST_DAY, LAST_NIGHT):
        land(other, day)
    other.build_history(FIRST_DAY, LAST_NIGHT)

    for table, order in (("validated/orders", ["slot_id"]), ("features/cafe_orders", ["cafe", "event_timestamp"])):
        name = f"{TINY.name}/{table}"
        assert story.driver.lake.read(name).sort(order).equals(other.lake.read(name).sort(order)), table
    other.instance.dispose()


def test_forecasts_are_made_again_with_the_version_that_was_live_then(story: Story) -> None:
    for day, version in zip(AFTER, (1, 1, 2), strict=True):
        now, then = story.forecasts(day), story.issued.filter(pl.col("day") == day).sort("slot_id")
        assert now["model_version"].unique().to_list() == [version]
        assert now["cafe_orders_orders_mean_7d"].to_list() != then["cafe_orders_orders_mean_7d"].to_list()
        assert now["score"].to_list() != then["score"].to_list()


def test_forecasts_as_issued_are_kept_and_performance_is_judged_on_them(story: Story) -> None:
    kept = read_issued(TINY, story.driver.lake, columns=["day", "slot_id", "score", "model_version"])
    order = ["day", "slot_id"]

    assert kept.sort(order).equals(story.issued.select(kept.columns).sort(order))
    report = story.driver.lake.read(f"{TINY.name}/performance_report", LAST_NIGHT, LAST_NIGHT)
    outcomes = story.driver.lake.read(f"{TINY.name}/validated/orders").select("slot_id", "orders")
    judged = kept.filter(pl.col("day") < LAST_NIGHT, pl.col("score").is_not_null()).join(outcomes, on="slot_id")
    error = (judged["score"] - judged["orders"]).abs().mean()
    assert report["mae"].item() == pytest.approx(error)


def test_the_night_is_not_run_again_and_the_proofs_hold(story: Story) -> None:
    assert story.driver.tick(NIGHTLY_SENSOR) == []
    for asset, name in (("batch_predictions", "parity"), ("online_features", "up_to_date")):
        seen = last_check(story.driver, asset, name)
        assert seen.passed, seen.message


def test_asked_again_the_model_is_said_to_have_learnt_from_what_stood_there_before(story: Story) -> None:
    named, radius = story.project.radius(WHAT)
    reissued = {asset for step in story.project.repair(named, reissue=True) for asset in step.assets}
    assert {"batch_predictions", "hindcasts", "performance_report"} <= reissued

    assert [version.rewritten for version in radius.versions] == [True]
    assert "written again since" in "\n".join(described(story.project, radius, []))


def test_the_list_reads_well_and_is_there_for_machines(story: Story) -> None:
    text = "\n".join(described(story.project, story.radius, story.todo))

    assert f"Touched by {WHAT}" in text
    assert "windows that reach back 8 days" in text
    assert f"--run makes again, in {len(story.todo)} runs" in text
    assert "The champion, version 2, has" in text or "The champion, version 2, was" in text
    found = json.loads(json.dumps(document(story.radius, story.todo)))
    assert found["live"][str(BROKEN)] == 1
    assert found["champion_touched"] is True
    assert story.lines[0].startswith(f"[1/{len(story.todo)}] raw/orders: {BROKEN}")
    assert len(story.lines) == len(story.todo)


def test_a_check_means_its_partition_and_a_version_its_forecasts(story: Story) -> None:
    named, _ = story.project.radius(f"validated/orders:contract:{BROKEN}")
    assert named.partitions == {"validated/orders": (BROKEN,)}

    named, radius = story.project.radius("version:1")
    assert [version.number for version in radius.versions] == [1]
    issued = days_between(FIRST_NIGHT + timedelta(days=1), SECOND_MODEL)
    assert list(radius.live) == issued
    assert list(radius.partitions["hindcasts"]) == [day + timedelta(days=1) for day in issued]
    assert story.project.repair(named) == []

    named, _ = story.project.radius(f"performance_report:performs:{LAST_NIGHT}")
    # The report is about the first model, which did not serve on the first night yet.
    assert list(named.partitions["batch_predictions"]) == issued


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("orders", "is no partition, check or version"),
        ("raw/bills:2024-03-01", "has no asset 'raw/bills'; it has"),
        ("raw/orders:2024-03-29", "was never materialized for 2024-03-29"),
        ("raw/orders:fresh:2024-03-01", r"has no check 'fresh'; it has \['landed'\]"),
        ("version:9", r"no version 9 of 'cafe_orders' is registered; there are \[1, 2\]"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(story: Story, what: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        story.project.named(what)


def test_a_repair_asks_for_no_retraining(story: Story) -> None:
    instance, newest = story.driver.instance, newest_record(story.driver.instance)
    checks = [*drift_checks(TINY), *performance_checks(TINY)]

    assert list(evaluations(instance, checks, story.record)) != []
    assert errors_of(instance, checks, story.record, newest) == []


def test_what_else_landed_for_the_day_is_pointed_at(story: Story, tmp_path: Path) -> None:
    landing = Landing(tmp_path, tmp_path / "ingested")
    landing.remember(TINY, BROKEN, "before")
    for path in write_day(tmp_path, BROKEN):
        later = path.stat().st_mtime + 60
        os.utime(path, (later, later))

    assert landed_beside(TINY, story.todo, landing) == [f"raw/slots:{BROKEN}"]


def test_files_that_are_gone_are_not_ingested_again(story: Story, tmp_path: Path) -> None:
    nowhere = Landing(tmp_path, tmp_path / "ingested")

    assert not_landed(TINY, story.todo, nowhere, story.driver.lake) == [WHAT]
    with pytest.raises(RuntimeError, match="put the files back"):
        list(repair(story.project, WHAT, story.todo, nowhere))


def test_forecasts_that_are_issued_anew_replace_what_was_issued(story: Story) -> None:
    """Last in the file: it takes history back."""
    kept = f"{TINY.name}/issued_predictions"
    assert BROKEN in story.driver.lake.days(kept)

    runner = Rematerializer(TINY, story.project.definitions, story.driver.instance, story.driver.lake)
    (done,) = runner.run([Step(("batch_predictions",), BROKEN, BROKEN)], WHAT, reissue=True)

    assert str(done[0]) == f"batch_predictions: {BROKEN}"
    assert BROKEN not in story.driver.lake.days(kept)
    now = read_issued(TINY, story.driver.lake, BROKEN, BROKEN, ["slot_id", "score"]).sort("slot_id")
    assert now.equals(story.forecasts(BROKEN).select("slot_id", "score"))
