"""Rows that are kept in memory are the rows that a scan of the table gives, in its order, whatever happened to it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo import recent
from feature_repo.recent import recent_rows

FIRST = date(2024, 3, 1)


def _day(number: int) -> date:
    return FIRST + timedelta(days=number)


def _moment(number: int) -> datetime:
    # Statistics of moments are cut to milliseconds; these have microseconds.
    return datetime(2024, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC) + timedelta(days=number)


def _write(path: Path, numbers: list[int], value: float = 1.0, mode: Any = "append", **more: Any) -> DeltaTable:
    frame = pl.DataFrame(
        {"day": [_day(n) for n in numbers], "at": [_moment(n) for n in numbers], "value": [value] * len(numbers)},
        schema={"day": pl.Date(), "at": pl.Datetime("us", "UTC"), "value": pl.Float64()},
    ).with_columns(pl.lit(content).alias(name) for name, content in more.items())
    write_deltalake(str(path), frame.to_arrow(), mode=mode, partition_by=["day"], schema_mode="merge")
    return DeltaTable(str(path))


def _rows(table: DeltaTable, column: str, first: Any, last: Any, **how: bool) -> pl.DataFrame:
    found = recent_rows(table, column, first, last, **how)
    assert found is not None
    return found.filter(pl.col(column).is_between(first, last)).collect()


@settings(max_examples=15, deadline=None)
@given(
    commits=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=5),
    span=st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted),
)
def test_rows_and_their_order_are_those_of_a_scan(
    commits: list[list[int]], span: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table")
    for value, numbers in enumerate(commits):
        table = _write(path, numbers, float(value))
        for column, of in (("day", _day), ("at", _moment)):
            first, last = map(of, span)
            expected = pl.scan_delta(table).filter(pl.col(column).is_between(first, last))
            assert _rows(table, column, first, last).equals(expected.collect())
            if column == "day":
                ordered = expected.sort("day", maintain_order=True).collect()
                assert _rows(table, column, first, last, in_order=True).equals(ordered)


def test_a_column_that_came_later_is_missing_in_the_files_before_it(tmp_path: Path) -> None:
    table = _write(tmp_path, [0, 1])
    assert _rows(table, "day", _day(0), _day(1)).columns == ["day", "at", "value"]
    table = _write(tmp_path, [2], note="late")
    assert _rows(table, "day", _day(0), _day(2), in_order=True)["note"].to_list() == [None, None, "late"]


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    usual = recent._read
    monkeypatch.setattr(recent, "_read", lambda paths, *rest: read.append(len(paths)) or usual(paths, *rest))
    table = _write(tmp_path, [0, 1, 2])
    for _ in range(3):
        assert _rows(table, "day", _day(0), _day(2)).height == 3
    assert _rows(_write(tmp_path, [3]), "day", _day(1), _day(3)).height == 3
    assert read == [3, 1]


def test_no_more_is_kept_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = recent._Kept()
    monkeypatch.setattr(recent, "_kept", kept)
    monkeypatch.setattr(recent, "MOST_BYTES", 100)
    table = _write(tmp_path, list(range(20)))
    for _ in range(2):
        assert _rows(table, "day", _day(0), _day(19)).height == 20
        assert 0 < sum(frame.estimated_size() for frame in kept._frames.values()) <= 100


def test_long_spans_are_left_to_the_scan(tmp_path: Path) -> None:
    table = _write(tmp_path, list(range(recent.MOST_FILES + 1)))
    assert recent_rows(table, "day", None, None) is None
    assert recent_rows(table, "day", _day(1), None) is not None


def test_a_table_with_more_than_plain_files_is_left_to_the_scan(tmp_path: Path) -> None:
    moment = datetime(2024, 3, 1, tzinfo=UTC).replace(tzinfo=None)  # without a zone, it asks more of readers
    frame = pl.DataFrame({"day": [FIRST], "at": [moment]})
    write_deltalake(str(tmp_path), frame.to_arrow(), partition_by=["day"])
    assert recent_rows(DeltaTable(str(tmp_path)), "day", FIRST, FIRST) is None
