"""What upstreams do to us: every row that lands is valid, a duplicate or in quarantine, and the next day goes on."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from lifecycle.calendar import days_between
from pipelines.driver import Driver
from pipelines.event_log import failed_checks
from resources.settings import Settings
from tests.tiny import CALENDAR, FIRST_DAY, TINY, Seen, check_key, day_rows, last_check, write_day, write_rows

Rows = list[dict[str, object]]
SECOND_DAY = FIRST_DAY + timedelta(days=1)
ROWS_A_DAY = 40


@dataclass(frozen=True)
class Case:
    """A way in which the orders of a day arrive broken, and what must become of them.

    Parameters
    ----------
    land : writes the files of the day from its true rows.
    goes_on : whether the rest of the run is built on the day, or the contract blocks it.
    contract, landed : severity of the check's failure, None where it passes; and what its message says.
    """

    name: str
    land: Callable[[Path, date, Rows], None]
    goes_on: bool
    valid: int
    quarantined: int = 0
    duplicates: int = 0
    contract: tuple[str | None, tuple[str, ...]] = (None, ())
    landed: tuple[str | None, tuple[str, ...]] = (None, ())
    reasons: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()


def _rows(change: Callable[[Rows], Rows]) -> Callable[[Path, date, Rows], None]:
    def land(landing: Path, day: date, rows: Rows) -> None:
        write_rows(landing, "orders", f"{day}.csv", change(rows))

    return land


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, date, Rows], None]:
    def land(landing: Path, day: date, rows: Rows) -> None:
        path = write_rows(landing, "orders", f"{day}.csv", rows)
        path.write_bytes(change(path.read_bytes()))

    return land


def _with(rows: Rows, places: tuple[int, ...], **values: object) -> Rows:
    return [{**row, **values} if n in places else row for n, row in enumerate(rows)]


def _without(rows: Rows, name: str) -> Rows:
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def _renamed(rows: Rows, old: str, new: str) -> Rows:
    return [{new if key == old else key: value for key, value in row.items()} for row in rows]


def _second_file(landing: Path, day: date, rows: Rows) -> None:
    write_rows(landing, "orders", f"{day}.csv", rows)
    write_rows(landing, "orders", f"{day}.second.csv", rows)


CASES = (
    Case(
        "a column is missing",
        _rows(lambda rows: _without(rows, "orders")),
        goes_on=False,
        valid=0,
        quarantined=ROWS_A_DAY,
        contract=("ERROR", ("{day}.csv: column 'orders' missing", "(40 rows)")),
        reasons=("{day}.csv: column 'orders' missing",),
    ),
    Case(
        "a column is renamed",
        _rows(lambda rows: _renamed(rows, "orders", "amount")),
        goes_on=False,
        valid=0,
        quarantined=ROWS_A_DAY,
        contract=("ERROR", ("{day}.csv: column 'orders' missing; it has 'amount' instead",)),
        reasons=("it has 'amount' instead",),
    ),
    Case(
        "two rows hold text where a number belongs",
        _rows(lambda rows: _with(rows, (4, 9), orders="many")),
        goes_on=True,
        valid=38,
        quarantined=2,
        contract=("WARN", ("values have their type: 2 rows", "orders='many' is not a int")),
        reasons=("orders='many' is not a int",),
        lines=(6, 11),
    ),
    Case(
        "many rows hold text where a number belongs",
        _rows(lambda rows: _with(rows, (0, 1, 2), orders="n/a")),
        goes_on=False,
        valid=37,
        quarantined=3,
        contract=("ERROR", ("orders: 3 of 40 rows in quarantine, more than 5%", "orders='n/a' is not a int")),
        lines=(2, 3, 4),
    ),
    Case(
        "the same text is broken in different ways in the same slot",
        _rows(lambda rows: [*rows[1:], {**rows[0], "orders": "x"}, {**rows[0], "orders": "y"}]),
        goes_on=True,
        valid=39,
        quarantined=2,
        contract=("WARN", ("orders='x' is not a int",)),
        lines=(41, 42),
    ),
    Case("rows come twice", _rows(lambda rows: [*rows, *rows[:3]]), goes_on=True, valid=ROWS_A_DAY, duplicates=3),
    Case(
        "two rows of one slot say different things",
        _rows(lambda rows: [*rows, {**rows[7], "orders": 499}]),
        goes_on=True,
        valid=ROWS_A_DAY,
        quarantined=1,
        contract=("WARN", ("one row per slot_id: 1 rows",)),
        reasons=("not true that one row per slot_id",),
        lines=(42,),
    ),
    Case(
        "values are impossible",
        _rows(lambda rows: _with(_with(rows, (3,), orders=-5), (5,), card_share=1.7)),
        goes_on=True,
        valid=38,
        quarantined=2,
        contract=("WARN", ("orders in [0, 500]: 1 rows", "card_share in [0, 1]: 1 rows")),
        reasons=("not true that orders in [0, 500]: -5", "not true that card_share in [0, 1]: 1.7"),
        lines=(5, 7),
    ),
    Case(
        "a fact comes from the future",
        _rows(lambda rows: _with(rows, (0,), counted_at="2024-06-01T10:00:00Z")),
        goes_on=True,
        valid=39,
        quarantined=1,
        contract=("WARN", ("known by the close of the day: 1 rows",)),
        reasons=("known by the close of the day",),
        lines=(2,),
    ),
    Case(
        "the file has no bytes",
        _bytes(lambda _: b""),
        goes_on=True,
        valid=0,
        landed=("ERROR", ("orders: {day}.csv is empty",)),
    ),
    Case(
        "the file has a header only",
        _rows(lambda _: []),
        goes_on=True,
        valid=0,
        landed=("ERROR", ("{day}.csv is empty",)),
    ),
    Case(
        "the file is cut in the middle of a line",
        _bytes(lambda data: data[: data.index(b"market-", len(data) // 3) - 20]),
        goes_on=False,
        valid=12,
        quarantined=1,
        contract=("ERROR", ("1 of 13 rows in quarantine",)),
        landed=("WARN", ("{day}.csv has 13 rows, a usual day has 40",)),
        reasons=("counted_at",),
        lines=(14,),
    ),
    Case(
        "the file is no text",
        _bytes(lambda _: b"\x89PNG\r\n\x1a\n" + b"".join(b"\xff\x00\xfe%d,\n" % n for n in range(12))),
        goes_on=False,
        valid=0,
        quarantined=13,
        contract=("ERROR", ("{day}.csv: column 'slot_id', 'cafe', 'starts_at', 'orders'",)),
        landed=("WARN", ("{day}.csv has 13 rows",)),
        reasons=("{day}.csv: column 'slot_id'",),
    ),
    Case("a second file says it all again", _second_file, goes_on=True, valid=ROWS_A_DAY, duplicates=ROWS_A_DAY),
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Two good days; every case has two days of its own after them."""
    made = Driver(TINY, Settings(home=tmp_path_factory.mktemp("bad_input")))
    for day in (FIRST_DAY, SECOND_DAY):
        made.land(day)
    assert made.build_history(FIRST_DAY, SECOND_DAY).success
    yield made
    made.instance.dispose()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_broken_files_are_told_and_kept_and_the_next_day_goes_through(driver: Driver, case: Case) -> None:
    day = SECOND_DAY + timedelta(days=1 + 2 * CASES.index(case))
    driver.land(day)
    case.land(driver.settings.landing, day, day_rows(day)["orders"])

    assert driver.build_history(day, day).success == case.goes_on

    _told(last_check(driver, "raw/orders", "landed"), case.landed, day)
    _told(last_check(driver, "validated/orders", "contract"), case.contract, day)
    kept = _kept(driver, day)
    assert (kept.valid.height, kept.quarantined.height, kept.duplicates) == (
        case.valid,
        case.quarantined,
        case.duplicates,
    )
    assert set(kept.quarantined["_file"]) <= {f"{day}.csv"}
    told = " ".join(kept.quarantined["reasons"])
    assert [reason for reason in case.reasons if reason.format(day=day) not in told] == []
    if case.lines:
        assert sorted(kept.quarantined["_line"]) == list(case.lines)
    assert kept.valid["slot_id"].is_unique().all()

    tomorrow = day + timedelta(days=1)
    driver.land(tomorrow)
    assert driver.build_history(tomorrow, tomorrow).success
    assert last_check(driver, "validated/orders", "contract").passed
    assert _kept(driver, tomorrow).valid.height == ROWS_A_DAY


def test_quarantine_keeps_the_row_as_it_came(driver: Driver) -> None:
    renamed = SECOND_DAY + timedelta(days=30)
    rows = day_rows(renamed)["orders"]
    driver.land(renamed)
    write_rows(driver.settings.landing, "orders", f"{renamed}.csv", _renamed(rows, "orders", "amount"))
    driver.build_history(renamed, renamed)

    kept = _kept(driver, renamed).quarantined.sort("_line")
    for row, text, extra in zip(rows, kept["row"], kept["_extra"], strict=True):
        assert json.loads(extra)["amount"] == str(row["orders"])
        assert json.loads(text)["counted_at"] == row["counted_at"]


def test_an_outcome_that_comes_days_later_counts_once_from_the_close_of_the_day_it_came(driver: Driver) -> None:
    due, came, again = (SECOND_DAY + timedelta(days=n) for n in (32, 34, 35))
    held_back = day_rows(due)["orders"][5]
    for day in days_between(due, again):
        driver.land(day)
        rows = [row for row in day_rows(day)["orders"] if row is not held_back and row != held_back]
        rows += [held_back] if day in (came, again) else []
        write_rows(driver.settings.landing, "orders", f"{day}.csv", rows)
        assert driver.build_history(day, day).success

    found = driver.lake.read(f"{TINY.name}/validated/orders", due, again)
    (late,) = found.filter(pl.col("slot_id") == held_back["slot_id"]).rows(named=True)
    assert late["day"] == came
    assert late["available_at"] == CALENDAR.close(came)
    assert _kept(driver, again).duplicates == 1


def test_days_that_never_land_land_twice_or_land_again(tmp_path: Path) -> None:
    driver = Driver(TINY, Settings(home=tmp_path))
    never, third = SECOND_DAY, SECOND_DAY + timedelta(days=1)
    driver.land(FIRST_DAY)
    driver.land(third)

    nights = list(driver.nights())
    assert [(ran.day, ran.success) for ran in nights] == [(FIRST_DAY, True), (never, True), (third, True)]
    messages = [found.message for found in failed_checks(driver.instance, [check_key("raw/orders", "landed")], after=0)]
    folder = driver.settings.landing / TINY.name / "orders"
    assert f"orders: no file for {never}; expected {folder / f'{never}.csv'}" in messages
    good = _kept(driver, third).valid

    driver.land(third)  # the same file again
    assert [ran.day for ran in driver.nights()] == [third]
    assert _kept(driver, third).valid.sort("slot_id").equals(good.sort("slot_id"))

    write_rows(driver.settings.landing, "orders", f"{third}.second.csv", day_rows(third)["orders"])
    assert [ran.day for ran in driver.nights()] == [third]
    kept = _kept(driver, third)
    assert kept.valid.sort("slot_id").equals(good.sort("slot_id"))
    assert kept.duplicates == ROWS_A_DAY
    assert list(driver.nights()) == []
    driver.instance.dispose()


_BUILD_FOR_EVER = """
import sys
from datetime import date
from pathlib import Path
from pipelines.driver import Driver
from resources.settings import Settings
from tests.assets.test_bad_input import land_version
from tests.tiny import TINY

driver, day = Driver(TINY, Settings(home=Path(sys.argv[1]))), date.fromisoformat(sys.argv[2])
assert driver.build_history(day, day).success
print("warm", flush=True)
for n in range(1000):
    land_version(driver.settings.landing, day, n % 2)
    driver.build_history(day, day)
"""


def land_version(landing: Path, day: date, version: int) -> None:
    """The day's files in one of two versions, told apart by all their orders."""
    write_day(landing, day)
    rows = [{**row, "orders": int(str(row["orders"])) + 100 * version} for row in day_rows(day)["orders"]]
    write_rows(landing, "orders", f"{day}.csv", rows)


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_every_table_old_or_new(tmp_path: Path) -> None:
    """Three processes build a day over and over, from two versions of its files, until they are killed."""
    day, tables = SECOND_DAY, ("raw/orders", "validated/orders", "features/cafe_orders")
    origin = Driver(TINY, Settings(home=tmp_path / "origin"))
    origin.land(FIRST_DAY)
    land_version(origin.settings.landing, day, 0)
    assert origin.build_history(FIRST_DAY, day).success
    homes = [tmp_path / name for name in ("one", "two", "three")]
    for home in homes:
        # Dagster's folder holds its own path: every home gets a new one.
        shutil.copytree(origin.settings.root, home, ignore=shutil.ignore_patterns("dagster"))
    expected = {0: _tables(origin, day, tables)}
    land_version(origin.settings.landing, day, 1)
    assert origin.build_history(day, day).success
    expected[1] = _tables(origin, day, tables)
    assert all(expected[0][table] != expected[1][table] for table in tables)

    _kill_at_random_moments([[sys.executable, "-W", "ignore", "-c", _BUILD_FOR_EVER, str(h), str(day)] for h in homes])

    for home in homes:
        survivor = Driver(TINY, Settings(home=home))
        for table, content in _tables(survivor, day, tables).items():
            assert content in (expected[0][table], expected[1][table]), f"{home.name}: half of {table} was written"
        land_version(survivor.settings.landing, day, 1)
        assert survivor.build_history(day, day).success
        assert _tables(survivor, day, tables) == expected[1]
        survivor.instance.dispose()
    origin.instance.dispose()


def _kill_at_random_moments(commands: list[list[str]]) -> None:
    root, moments = Path(__file__).parents[2], random.Random()
    children = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "warm\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=moments.uniform(0.1, 2.5))
            child.kill()
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _tables(driver: Driver, day: date, tables: tuple[str, ...]) -> dict[str, list[tuple[object, ...]]]:
    """The day's rows of some tables, without the run that wrote them."""
    found = {}
    for table in tables:
        rows = driver.lake.read(f"{TINY.name}/{table}", day, day)
        rows = rows.select(name for name in sorted(rows.columns) if name != "_run")
        found[table] = sorted(rows.rows(), key=str)
    return found


@dataclass(frozen=True)
class _Kept:
    valid: pl.DataFrame
    quarantined: pl.DataFrame
    duplicates: int


def _kept(driver: Driver, day: date) -> _Kept:
    """What became of the day's orders; the three heaps must be all that landed."""
    valid = driver.lake.read(f"{TINY.name}/validated/orders", day, day)
    quarantined = driver.lake.read(f"{TINY.name}/quarantine/orders", day, day)
    landed = driver.lake.read(f"{TINY.name}/raw/orders", day, day).height
    check = last_check(driver, "validated/orders", "reconciled")
    assert check.passed, check.message
    return _Kept(valid, quarantined, landed - valid.height - quarantined.height)


def _told(check: Seen, expected: tuple[str | None, tuple[str, ...]], day: date) -> None:
    severity, fragments = expected
    assert (None if check.passed else check.severity) == severity, check.message
    assert [text for text in fragments if text.format(day=day) not in check.message] == [], check.message
