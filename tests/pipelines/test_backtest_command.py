"""One command measures policies, false alarms and faults of a tiny pipeline, and writes one page."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.backtest import _middle, main

pytestmark = pytest.mark.slow

SPAN = ["--first", "2024-02-28", "--last", "2024-03-30", "--split", "2024-03-10"]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module that declares the tiny pipeline as the command expects it."""
    folder = tmp_path_factory.mktemp("declared")
    (folder / "tiny_backtest.py").write_text(
        "from lifecycle.pipeline import RetrainPolicy\n"
        "from tests.tiny import variant\n"
        "PIPELINE = variant(retraining=RetrainPolicy(cool_down_days=5, probe_confidence=0.5))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield "tiny_backtest"  # type: ignore[misc]


@pytest.fixture(scope="module")
def out(module: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    size = ["--worlds", "2", "--fault-worlds", "1", "--fault-starts", "1", "--processes", "1"]
    assert main([module, "--out", str(folder), "--policies", "never,weekly,own", *SPAN, *size]) == 0
    return folder


@pytest.fixture(scope="module")
def content(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "backtest.json").read_text())
    return found


def test_offers_that_no_model_knew_make_retraining_pay(content: dict[str, Any]) -> None:
    spans = {entry["policy"]: entry["spans"]["whole"] for entry in content["policies"]}

    assert spans["never"]["gain"] == 0
    assert spans["weekly"]["gain"] > 0
    assert spans["own"]["gain"] > 0
    assert spans["own"]["regret"] == pytest.approx(1000 * (spans["weekly"]["gain"] - spans["own"]["gain"]))
    assert spans["weekly"]["trained"] == 4


def test_what_is_measured_without_change_is_in_it(content: dict[str, Any]) -> None:
    assert set(content["false_alarms"]) == {"free", "within weekday"}
    assert {row["worlds"] for row in content["false_alarms"]["free"]} == {2}
    assert content["detection"]["faults"]
    assert all(fault["injections"] == 1 for fault in content["detection"]["faults"])
    assert {(one["policy"], one["days_ahead"]) for one in content["estimates"]} == {
        (policy, days) for policy in ("never", "own") for days in (7, 1)
    }
    known = {one["days_ahead"]: one["known_share"] for one in content["estimates"] if one["policy"] == "own"}
    assert known[7] == 0
    assert 0.5 < known[1] < 1


def test_the_page_needs_nothing_beside_it(out: Path) -> None:
    page = (out / "backtest.html").read_text()

    for heading in ("Policies", "False alarms", "Faults", "Performance estimated before the labels"):
        assert f"<h2>{heading}</h2>" in page
    assert page.count("data:image/png;base64,") >= 4
    assert "http://" not in page
    assert "https://" not in page
    assert (out / "backtest.md").read_text().startswith("# Policy backtest of cafe_orders")


def test_a_run_that_was_stopped_goes_on_with_what_it_has_trained(
    out: Path, module: str, content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "models").iterdir()}
    side_by_side = ["--worlds", "0", "--processes", "2"]
    assert main([module, "--out", str(out), "--policies", "weekly,never", *SPAN, *side_by_side]) == 0

    assert "trained the model" not in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in (out / "models").iterdir()} == kept
    again = {entry["policy"]: entry for entry in json.loads((out / "backtest.json").read_text())["policies"]}
    for entry in content["policies"]:
        if entry["policy"] in again:
            assert again[entry["policy"]] == entry


def test_a_policy_that_is_not_there_is_named_with_those_that_are(module: str, out: Path) -> None:
    with pytest.raises(SystemExit, match="name some of never, monthly, weekly"):
        main([module, "--out", str(out), "--policies", "always"])


def test_the_later_part_begins_with_a_month() -> None:
    from datetime import date

    assert _middle(date(2013, 3, 31), date(2013, 12, 30)) == date(2013, 9, 1)
