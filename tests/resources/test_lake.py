"""The lake: days are replaced whole, versions stay readable, and counting reads no data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake.exceptions import TableNotFoundError

from resources.lake import CHECKPOINT_EVERY, Lake

DAY = date(2024, 2, 1)
NEXT, LAST = DAY + timedelta(days=1), DAY + timedelta(days=2)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def _rows(*days: date, value: int = 1) -> pl.DataFrame:
    return pl.DataFrame({"day": days, "value": [value] * len(days)}, schema={"day": pl.Date(), "value": pl.Int64()})


def test_writing_days_replaces_these_days_and_no_others(lake: Lake) -> None:
    lake.write("shop/sales", _rows(DAY, DAY, NEXT, LAST), DAY, LAST)
    lake.write("shop/sales", _rows(NEXT, value=7), NEXT, NEXT)

    assert sorted(lake.read("shop/sales").rows()) == [(DAY, 1), (DAY, 1), (NEXT, 7), (LAST, 1)]
    assert lake.read("shop/sales", NEXT, NEXT)["value"].to_list() == [7]
    assert lake.row_counts("shop/sales") == {DAY: 2, NEXT: 1, LAST: 1}
    assert lake.days("shop/sales") == [DAY, NEXT, LAST]


def test_an_empty_frame_empties_its_days(lake: Lake) -> None:
    lake.write("sales", _rows(DAY, NEXT), DAY, NEXT)
    lake.write("sales", _rows(), NEXT, NEXT)
    assert lake.read("sales")["day"].to_list() == [DAY]


def test_nothing_in_the_place_of_nothing_is_no_new_version(lake: Lake) -> None:
    first = lake.write("sales", _rows(DAY), DAY, DAY)
    assert lake.write("sales", _rows(), NEXT, NEXT) == first
    assert lake.write("sales", _rows(), DAY, NEXT) == first + 1
    # A column that is new is made known although there are no rows yet.
    assert lake.write("sales", _rows().with_columns(pl.lit(1.5).alias("price")), LAST, LAST) == first + 2
    assert set(lake.read("sales", DAY, LAST).columns) == {"day", "value", "price"}


def test_a_table_may_begin_with_a_day_that_brought_nothing(lake: Lake) -> None:
    lake.write("sales", _rows(), DAY, DAY)
    lake.write("sales", _rows(NEXT), NEXT, NEXT)
    assert lake.read("sales").rows() == [(NEXT, 1)]
    assert lake.read("sales", DAY, DAY).schema == {"day": pl.Date(), "value": pl.Int64()}


def test_rows_of_other_days_are_refused_and_nothing_is_written(lake: Lake) -> None:
    with pytest.raises(ValueError, match=r"asked to write 2024-02-01 to 2024-02-01 but the frame has rows of"):
        lake.write("sales", _rows(DAY, NEXT), DAY, DAY)
    assert not lake.exists("sales")


def test_old_versions_stay_readable(lake: Lake) -> None:
    before = lake.write("sales", _rows(DAY), DAY, DAY)
    after = lake.write("sales", _rows(DAY, value=2), DAY, DAY)
    assert (before, after) == (0, 1)
    assert lake.read("sales", version=before)["value"].to_list() == [1]
    assert lake.versions(["sales", "never"]) == {"sales": 1}


def test_a_new_column_is_missing_in_the_days_before_it(lake: Lake) -> None:
    lake.write("sales", _rows(DAY), DAY, DAY)
    lake.write("sales", _rows(NEXT).with_columns(price=pl.lit(2.5)), NEXT, NEXT)
    assert dict(lake.read("sales").select("day", "price").rows()) == {DAY: None, NEXT: 2.5}


def test_a_table_that_is_not_there_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError, match=r"table 'sales' does not exist in the lake .*; materialize its asset"):
        lake.read("sales")
    assert lake.read_if_exists("sales", {"day": pl.Date()}).schema == {"day": pl.Date()}
    assert lake.days("sales") == []
    assert lake.row_counts("sales") == {}
    assert lake.version("sales") is None


def test_long_logs_are_checkpointed_and_read_as_before(lake: Lake, tmp_path: Path) -> None:
    for n in range(CHECKPOINT_EVERY + 2):
        lake.append("log", _rows(DAY, value=n))
    assert sorted(lake.read("log")["value"]) == list(range(CHECKPOINT_EVERY + 2))
    assert len(list((tmp_path / "log" / "_delta_log").glob("*.checkpoint*.parquet"))) == 1


def test_rows_come_back_by_day_and_within_a_day_as_they_were_written(lake: Lake) -> None:
    pieces = [_rows(NEXT, DAY, value=n) for n in range(4)]
    lake.write("sales", pl.concat(pieces, rechunk=False), DAY, NEXT)
    lake.write("sales", pl.concat(pieces, rechunk=False), DAY, NEXT)
    lake.write("sales", _rows(LAST, value=9), LAST, LAST)
    assert lake.read("sales").rows() == [*((DAY, n) for n in range(4)), *((NEXT, n) for n in range(4)), (LAST, 9)]


def test_tables_written_while_the_next_is_made_are_those_written_in_turn(tmp_path: Path) -> None:
    together, in_turn = (Lake(str(tmp_path / name)) for name in ("together", "in_turn"))
    for round_ in range(3):
        made = [({f"tiny/{name}": _rows(DAY, value=round_ + number)}, name) for number, name in enumerate("abc")]
        told = list(together.write_each(iter(made), DAY, DAY))
        assert [name for _, name in told] == ["a", "b", "c"]
        for (versions, _), (frames, _) in zip(told, made, strict=True):
            assert versions == {table: in_turn.write(table, frame, DAY, DAY) for table, frame in frames.items()}
            for table in frames:
                assert together.read(table).equals(in_turn.read(table))


def test_what_was_made_before_an_error_is_written(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))

    def made() -> Iterator[tuple[dict[str, pl.DataFrame], str]]:
        yield {"tiny/a": _rows(DAY)}, "a"
        raise OSError("half a file")

    told: list[str] = []
    with pytest.raises(OSError, match="half a file"):
        told.extend(name for _, name in lake.write_each(made(), DAY, DAY))
    assert told == ["a"]
    assert lake.read("tiny/a").height == _rows(DAY).height


def test_a_table_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    (tmp_path / "tiny").write_text("a file where the folder should be")
    with pytest.raises(TableNotFoundError, match="tiny"):
        list(lake.write_each([({"tiny/a": _rows(DAY)}, "a")], DAY, DAY))
