"""The replay of a tiny pipeline under two policies: what it asks for, what it is worth, and that it repeats itself."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from lifecycle.pipeline import RetrainPolicy
from pipelines.replay import Span, _clear, replay
from pipelines.rollback import rollback
from pipelines.scoreboard import Board, write_scoreboard
from resources.configured import plain_clients
from resources.settings import Settings
from tests.tiny import TINY, variant

pytestmark = pytest.mark.slow

HASTY = variant(retraining=RetrainPolicy(cool_down_days=5))
# The first retraining comes too soon after the offers began to know them and is refused; the second is served.
SPAN = Span(date(2024, 2, 27), date(2024, 2, 28), date(2024, 3, 18))


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {policy: tmp_path_factory.mktemp(policy) for policy in ("never", "checks")}
    for policy, home in made.items():
        replay(HASTY, Settings(home=home), policy, SPAN)
    return made


@pytest.fixture(scope="module")
def board(homes: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Board:
    return write_scoreboard(TINY, homes, tmp_path_factory.mktemp("board"))


def test_retraining_when_checks_fail_pays(board: Board) -> None:
    policies = json.loads(board.json.read_text())["policies"]

    assert len(policies["never"]["retrainings"]) == 1
    assert len(policies["checks"]["retrainings"]) > 1
    assert policies["checks"]["rmse"] < policies["never"]["rmse"]
    assert policies["checks"]["gain_interval"][0] > 0


def test_the_scoreboard_says_why_and_at_what_cost(board: Board) -> None:
    retrainings = json.loads(board.json.read_text())["policies"]["checks"]["retrainings"]

    assert retrainings[0]["cause"].startswith("batch_predictions:has_champion")
    assert all(entry["seconds"] > 0 and entry["reason"] for entry in retrainings)
    assert "performance_report:performs" in board.text or "drift_report:no_drift" in board.text
    assert board.html.read_text().count("<img") >= 2


def test_the_same_replay_gives_the_same_numbers(tmp_path: Path) -> None:
    short = Span(SPAN.history_until, SPAN.first, date(2024, 3, 2))
    boards = []
    for home in (tmp_path / "first", tmp_path / "second"):
        replay(TINY, Settings(home=home), "checks", short)
        boards.append(json.loads(write_scoreboard(TINY, {"checks": home}, home).json.read_text())["policies"]["checks"])

    for name in ("forecasts", "rmse", "mae", "r2", "months"):
        assert boards[0][name] == boards[1][name], name


def test_a_rollback_takes_less_than_a_second_and_is_in_the_ledger(homes: Mapping[str, Path]) -> None:
    import time

    settings = Settings(home=homes["checks"])
    registry, ledger = plain_clients(settings)
    champion = registry.champion(TINY.name)
    assert champion is not None
    started = time.perf_counter()
    before, after = rollback(settings, TINY.name, "the test says so", by="tester")
    assert time.perf_counter() - started < 1

    assert before == champion.number
    assert registry.champion(TINY.name).number == after == ledger.served_before(TINY.name, before)
    last = ledger.entries(TINY.name).row(-1, named=True)
    assert (last["event"], last["decided_by"], last["reason"]) == ("rollback", "tester", "the test says so")


def test_a_replay_never_clears_what_it_has_not_made(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()

    with pytest.raises(SystemExit, match="holds the state of a pipeline"):
        _clear(tmp_path)
    assert (tmp_path / "lake").exists()


def test_a_replay_that_broke_off_before_its_first_run_was_over_can_be_begun_again(tmp_path: Path) -> None:
    def broken(_landing: Path, day: date) -> None:
        raise OSError(f"no space left for {day}")

    with pytest.raises(OSError, match="no space left"):
        replay(variant(feed=broken), Settings(home=tmp_path), "never", SPAN)
    (tmp_path / "lake").mkdir(exist_ok=True)
    _clear(tmp_path)
    assert not (tmp_path / "lake").exists()
