"""Results are merged by name, whoever writes them, and never mix up machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.readme import replaced
from benchmarks.results import machine, met, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


def content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_first_record_makes_the_file_in_its_documented_form(path: Path) -> None:
    record("nightly_seconds", 2.34567, "s", "≤ 5", "median of five nights", path)

    found = content(path)
    assert set(found) == {"machine", "date", "results"}
    assert found["results"] == [
        {"name": "nightly_seconds", "value": 2.346, "unit": "s", "target": "≤ 5", "how": "median of five nights"}
    ]


def test_a_measurement_taken_again_replaces_the_old_one_and_leaves_those_of_others(path: Path) -> None:
    record("replay_seconds", 1800, "s", "≤ 3600", "the year under one policy", path)
    record("import_ratio", 1.6, "ratio", "≤ 1.5", "on a busy machine", path)
    record("import_ratio", 1.2, "ratio", "≤ 1.5", "on a quiet machine", path)

    values = {result["name"]: result["value"] for result in content(path)["results"]}
    assert values == {"import_ratio": 1.2, "replay_seconds": 1800.0}
    assert not any("machine" in result for result in content(path)["results"])


def test_results_of_another_machine_stay_and_say_where_they_are_from(path: Path) -> None:
    other = {"cores": 64, "memory_gib": 512.0}
    old = {"name": "replay_seconds", "value": 600.0, "unit": "s", "target": "≤ 3600", "how": "the year"}
    path.write_text(json.dumps({"machine": other, "date": "2020-01-01", "results": [old]}))

    record("import_ratio", 1.2, "ratio", "≤ 1.5", "here", path)
    record("backfill_seconds", 40, "s", "≤ 60", "here", path)

    found = content(path)
    assert found["machine"] == machine()
    assert found["date"] > "2020-01-01"
    assert {result["name"]: result.get("machine") for result in found["results"]} == {
        "replay_seconds": other,
        "import_ratio": None,
        "backfill_seconds": None,
    }


def test_nothing_in_the_machine_tells_whose_it_is() -> None:
    assert set(machine()) == {"cores", "memory_gib", "system", "architecture", "python"}


def test_a_target_that_cannot_be_read_is_refused_before_anything_is_written(path: Path) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        record("import_ratio", 1.2, "ratio", "below 1.5", "here", path)
    with pytest.raises(ValueError, match="not a number"):
        record("import_ratio", 1.2, "ratio", "≤ fast", "here", path)

    assert not path.exists()


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"date": "2013-01-01"}'])
def test_a_file_that_holds_something_else_is_left_alone(path: Path, text: str) -> None:
    path.write_text(text)

    with pytest.raises(ValueError, match=r"results\.json"):
        record("import_ratio", 1.2, "ratio", "≤ 1.5", "here", path)

    assert path.read_text() == text


def test_targets_hold_at_their_very_limit() -> None:
    assert met(5.0, "≤ 5")
    assert met(50.0, "≥ 50")
    assert not met(5.001, "≤ 5")
    assert not met(49.9, "≥ 50")


def test_the_readme_gets_what_was_measured_between_its_marks() -> None:
    text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter"

    assert replaced(text, "bench", "new") == "before\n<!-- bench -->\n\nnew\n\n<!-- /bench -->\nafter"
    with pytest.raises(ValueError, match="0 times, not once"):
        replaced("no marks", "bench", "new")
