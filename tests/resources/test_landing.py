"""Files as upstreams leave them: read as text, every piece kept, with file and line."""

from __future__ import annotations

import gzip
import json
import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.landing import Landing, read_landed
from tests.tiny import ORDERS, TINY, write_day, write_rows

DAY = date(2024, 2, 5)
NAMES = ORDERS.contract.names
HEADER = ",".join(NAMES)
LINE = "market-1,market,2024-02-05T08:00:00Z,10,0.5,true,2024-02-05T09:00:00Z"


def _read(tmp_path: Path, data: bytes):  # type: ignore[no-untyped-def]
    path = tmp_path / f"{DAY}.csv"
    path.write_bytes(data)
    return read_landed(ORDERS, [path])


def test_rows_keep_their_text_file_and_line(tmp_path: Path) -> None:
    rows = _read(tmp_path, f"{HEADER}\n{LINE}\n{LINE.replace('10', '007')}\n".encode())
    assert rows.select("orders", "_file", "_line").rows() == [("10", f"{DAY}.csv", 2), ("007", f"{DAY}.csv", 3)]
    assert rows["_problem"].null_count() == 2


def test_columns_may_come_in_any_order_and_more_are_kept_apart(tmp_path: Path) -> None:
    names = [*reversed(NAMES), "till"]
    values = [*reversed(LINE.split(",")), "7"]
    rows = _read(tmp_path, f"{','.join(names)}\n{','.join(values)}\n".encode())
    assert rows["orders"].to_list() == ["10"]
    assert json.loads(rows["_extra"][0]) == {"till": "7"}
    assert rows["_problem"][0] is None


def test_a_missing_column_is_named_with_what_is_there_instead(tmp_path: Path) -> None:
    rows = _read(tmp_path, f"{HEADER.replace('orders', 'amount')}\n{LINE}\n".encode())
    assert rows["_problem"][0] == f"{DAY}.csv: column 'orders' missing; it has 'amount' instead"
    assert json.loads(rows["_extra"][0]) == {"amount": "10"}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with_byte_order_mark"])
def test_lines_with_too_many_fields_keep_the_surplus(tmp_path: Path, mark: bytes) -> None:
    rows = _read(tmp_path, mark + f"{HEADER}\n{LINE}\n{LINE},1,2\n".encode())
    assert rows["orders"].to_list() == ["10", "10"]
    assert json.loads(json.loads(rows["_extra"][1])["_surplus"]) == ["1", "2"]
    assert rows["_problem"].null_count() == 2


@pytest.mark.parametrize("tail", ["", f"{LINE},77,1,2\n"], ids=["regular", "ragged"])
def test_a_column_named_twice_loses_neither_value(tmp_path: Path, tail: str) -> None:
    rows = _read(tmp_path, f"{HEADER},orders\n{LINE},77\n{tail}".encode())
    assert rows["orders"][0] == "10"
    assert json.loads(rows["_extra"][0])["orders_duplicated_0"] == "77"


def test_an_empty_file_has_no_rows_and_no_problem(tmp_path: Path) -> None:
    for data in (b"", b" \n\n", f"{HEADER}\n".encode()):
        assert _read(tmp_path, data).is_empty()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5000), id="picture"),
        pytest.param(gzip.compress(f"{HEADER}\n{LINE}\n".encode())[:40], id="archive_cut_short"),
        pytest.param(f"{HEADER}\n{LINE}\n".encode("utf-16"), id="utf_16"),
        pytest.param(f"{HEADER}\n{LINE}\n".replace(",", ";").encode(), id="semicolons"),
    ],
)
def test_what_is_no_such_csv_is_a_problem_that_names_the_file_and_its_columns(tmp_path: Path, data: bytes) -> None:
    rows = _read(tmp_path, data)
    assert rows.height
    assert rows["_problem"].null_count() == 0
    assert rows["_problem"][0].startswith(f"{DAY}.csv: column 'slot_id', 'cafe', ")
    assert len(rows["_problem"][0]) < 600


def test_a_quote_that_is_never_closed_takes_the_rest_along_but_loses_nothing(tmp_path: Path) -> None:
    rest = f"{LINE}\n" * 4000
    rows = _read(tmp_path, f'{HEADER}\n{LINE},surplus\n"market-2,{rest}'.encode())
    assert rows["slot_id"].to_list() == ["market-1", f"market-2,{rest}"]


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_after_good_rows_leave_the_good_rows_alone(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    rows = _read(tmp_path_factory.mktemp("bytes"), f"{HEADER}\n{LINE}\n{LINE}\n".encode() + data)
    assert rows["orders"].to_list()[:2] == ["10", "10"]
    assert rows["_line"].to_list()[:2] == [2, 3]


def test_several_files_of_a_day_are_read_in_order_of_name(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "landing", tmp_path / "notes")
    row = dict(zip(NAMES, LINE.split(","), strict=True))
    for name in (f"{DAY}.second.csv", f"{DAY}.csv", f"{DAY}0.csv", "readme.csv"):
        write_rows(landing.root, "orders", name, [row])
    assert [path.name for path in landing.files(TINY.name, "orders")[DAY]] == [f"{DAY}.csv", f"{DAY}.second.csv"]
    assert list(landing.fingerprints(TINY)) == [DAY]


def test_a_fingerprint_changes_when_anything_lands_again(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "landing", tmp_path / "notes")
    assert landing.fingerprints(TINY) == {}
    assert landing.remembered(TINY, DAY) is None

    write_day(landing.root, DAY)
    first = landing.fingerprints(TINY)[DAY]
    landing.remember(TINY, DAY, first)
    assert landing.remembered(TINY, DAY) == landing.fingerprints(TINY)[DAY] == first
    write_rows(landing.root, "orders", f"{DAY}.second.csv", [])
    assert landing.fingerprints(TINY)[DAY] != first
