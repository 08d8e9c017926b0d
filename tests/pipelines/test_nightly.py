"""Which night runs next: missed days first, in order; a day once for what landed; again for what landed anew."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.nightly import FINGERPRINT_TAG, due_days, next_night
from resources.landing import NOTHING_LANDED, Landing
from tests.tiny import FIRST_DAY, TINY, variant, write_day

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(4)]


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "landing", tmp_path / "ingested")


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def land(landing: Landing, *days: date) -> None:
    for day in days:
        write_day(landing.root, day)


def ingest(landing: Landing, *days: date) -> None:
    for day in days:
        landing.remember(TINY, day, landing.fingerprints(TINY).get(day, NOTHING_LANDED))


def test_nothing_is_due_before_anything_landed(landing: Landing) -> None:
    assert due_days(TINY, landing, NOW) == []


def test_missed_days_come_first_and_in_order(landing: Landing, instance: dg.DagsterInstance) -> None:
    land(landing, *DAYS)
    ingest(landing, DAYS[0])

    assert [day for day, _ in due_days(TINY, landing, NOW)] == DAYS[1:]
    request = next_night(TINY, landing, instance, NOW)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == str(DAYS[1])


def test_a_day_that_never_landed_is_due_once_when_a_later_one_is_there(landing: Landing) -> None:
    land(landing, DAYS[0], DAYS[2])
    ingest(landing, DAYS[0])

    assert due_days(TINY, landing, NOW)[0] == (DAYS[1], NOTHING_LANDED)

    ingest(landing, DAYS[1])
    assert [day for day, _ in due_days(TINY, landing, NOW)] == [DAYS[2]]


def test_a_day_that_lands_again_is_due_again(landing: Landing) -> None:
    land(landing, DAYS[0])
    ingest(landing, DAYS[0])
    assert due_days(TINY, landing, NOW) == []

    file = landing.files(TINY.name, "slots")[DAYS[0]][0]
    file.with_name(f"{DAYS[0]}.repaired.csv").write_bytes(file.read_bytes())
    assert [day for day, _ in due_days(TINY, landing, NOW)] == [DAYS[0]]


def test_one_night_at_a_time(landing: Landing, instance: dg.DagsterInstance) -> None:
    land(landing, *DAYS)
    instance.add_run(
        dg.DagsterRun(
            job_name=f"{TINY.name}__nightly",
            run_id="11111111-1111-1111-1111-111111111111",
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": str(DAYS[0])},
        )
    )

    answer = next_night(TINY, landing, instance, NOW)
    assert isinstance(answer, dg.SkipReason)
    assert str(DAYS[0]) in str(answer.skip_message)


def test_a_night_that_failed_waits_for_new_files_and_lets_the_next_day_go(
    landing: Landing, instance: dg.DagsterInstance
) -> None:
    land(landing, DAYS[0], DAYS[1])
    instance.add_run(
        dg.DagsterRun(
            job_name=f"{TINY.name}__nightly",
            run_id="22222222-2222-2222-2222-222222222222",
            status=dg.DagsterRunStatus.FAILURE,
            tags={"dagster/partition": str(DAYS[0]), FINGERPRINT_TAG: landing.fingerprints(TINY)[DAYS[0]]},
        )
    )

    answer = next_night(TINY, landing, instance, NOW)
    assert isinstance(answer, dg.RunRequest)
    assert answer.partition_key == str(DAYS[1])

    landing.files(TINY.name, "slots")[DAYS[0]][0].write_text("slot_id\n")
    answer = next_night(TINY, landing, instance, NOW)
    assert isinstance(answer, dg.RunRequest)
    assert answer.partition_key == str(DAYS[0])


def test_a_pipeline_of_the_present_is_due_up_to_the_last_day_that_closed(landing: Landing) -> None:
    present = variant(last_day=None)
    land(landing, DAYS[0])
    ingest(landing, DAYS[0])
    closed = TINY.calendar.close(DAYS[2])

    assert [day for day, _ in due_days(present, landing, closed - timedelta(seconds=1))] == [DAYS[1]]
    assert [day for day, _ in due_days(present, landing, closed + timedelta(seconds=1))] == DAYS[1:3]
