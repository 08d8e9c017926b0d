"""A table that is kept open is always the table that is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import TableNotFoundError

from feature_repo.delta import MOST_COMMITS, open_table


def _write(path: Path, value: int) -> None:
    write_deltalake(str(path), pl.DataFrame({"value": [value]}).to_arrow(), mode="overwrite")


def _read(path: Path, version: int | None = None) -> list[int]:
    return pl.scan_delta(open_table(str(path), version)).collect()["value"].to_list()


def test_what_others_have_written_since_is_seen(tmp_path: Path) -> None:
    _write(tmp_path / "table", 1)
    assert _read(tmp_path / "table") == [1]
    for value in (2, 3):
        _write(tmp_path / "table", value)
    assert _read(tmp_path / "table") == [3]
    assert open_table(str(tmp_path / "table")) is open_table(str(tmp_path / "table"))


def test_an_older_version_is_that_version_and_leaves_the_newest_alone(tmp_path: Path) -> None:
    for value in (1, 2):
        _write(tmp_path / "table", value)
    assert _read(tmp_path / "table") == [2]
    assert _read(tmp_path / "table", version=0) == [1]
    assert _read(tmp_path / "table") == [2]


def test_a_table_made_anew_in_the_same_place_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    for value in (1, 2, 3):
        _write(tmp_path / "table", value)
    assert _read(tmp_path / "table") == [3]
    shutil.rmtree(tmp_path / "table")
    with pytest.raises(TableNotFoundError):
        open_table(str(tmp_path / "table"))
    _write(tmp_path / "table", 4)
    assert _read(tmp_path / "table") == [4]


def test_a_frame_that_was_opened_before_a_write_can_still_be_read(tmp_path: Path) -> None:
    _write(tmp_path / "table", 1)
    before = pl.scan_delta(open_table(str(tmp_path / "table")))
    _write(tmp_path / "table", 2)
    open_table(str(tmp_path / "table"))
    assert before.collect()["value"].to_list() in ([1], [2])


def test_a_table_is_opened_anew_before_its_writes_grow_slow(tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    objects = []
    for number in range(2 * MOST_COMMITS + 2):
        pl.DataFrame({"number": [number]}).write_delta(path, mode="append")
        objects.append(open_table(path))
        assert objects[-1].version() == number
    assert 2 <= len({id(table) for table in objects}) <= 3
