"""People hear of a problem once, again when it came back or went on for long, and of its end; and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from resources.alerts import ATTEMPTS, Alert, Alerts, Resolved, alerts
from resources.settings import Settings
from tests.loopback import Mailbox, Webhook, mailbox, webhook

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DRIFT = Alert("check drift", "ERROR", "predictions drifted", "/assets/drift?view=checks")
PASSES = Resolved("passes", "check drift")
SECRET = "hunter2-s3cret"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as server:
        yield server


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as server:
        yield server


def configured(home: Path, *urls: str, **changes: object) -> Alerts:
    return alerts(Settings(home=home, alert_urls=", ".join(urls), **changes))  # type: ignore[arg-type]


def address(hook: Webhook) -> str:
    return f"json://ann:{SECRET}@127.0.0.1:{hook.port}/{SECRET}-path?+X-Token={SECRET}"


def test_alerts_are_logged_by_severity_and_kept_in_the_order_they_happened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sender = configured(tmp_path)
    assert sender.lines() == []

    with caplog.at_level(logging.INFO, logger="perennial.alerts"):
        told = sender.report(
            [
                Alert("retraining", "INFO", "started", "https://elsewhere/x"),
                Alert("check performs", "ERROR", "forecasts are\nbelow what happened", "/assets/x", at=NOON),
                Alert("check landed", "WARN", "only 3 rows – a usual day has 40", at=NOON + MINUTE),
            ],
        )

    assert told == 3
    first, second, third = sender.lines("alert")
    assert (first["source"], first["severity"]) == ("check performs", "ERROR")
    assert first["link"] == "http://localhost:3000/assets/x"
    assert first["message"] == "forecasts are\nbelow what happened"
    assert second["message"] == "only 3 rows – a usual day has 40"
    assert third["link"] == "https://elsewhere/x"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "INFO"]
    assert [key.source for key in sender.open()] == ["check performs", "check landed"], "news is no problem"


def test_a_problem_is_told_once_and_again_only_when_it_lasts_or_comes_back(tmp_path: Path, hook: Webhook) -> None:
    def report(event: Alert | Resolved, now: datetime) -> int:
        # As after a restart: whatever is known is known from the file.
        sender = configured(tmp_path, address(hook), ui_url="https://dagster.example.org/", alert_repeat_hours=6)
        return sender.report([event], now)

    assert report(PASSES, NOON - HOUR) == 0, "nothing was wrong, so nothing is over"
    assert [report(DRIFT, NOON + step * HOUR) for step in range(8)] == [1, 0, 0, 0, 0, 0, 1, 0]
    assert hook.titles == ["[ERROR] check drift"] * 2
    assert hook.messages[0]["message"] == "predictions drifted\nhttps://dagster.example.org/assets/drift?view=checks"
    assert "7 times since 2026-03-01 12:00 UTC" in hook.messages[1]["message"]
    assert hook.messages[0]["type"] == "failure"

    assert report(PASSES, NOON + 8 * HOUR) == 1
    assert report(PASSES, NOON + 8 * HOUR) == 0
    assert (hook.titles[-1], hook.messages[-1]["type"]) == ("[RESOLVED] check drift", "success")

    assert report(DRIFT, NOON + 9 * HOUR) == 1, "it was quiet and came back"
    lines = configured(tmp_path).lines("alert")
    assert [line["count"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8, 1], "the file keeps every occurrence"


def test_what_is_about_another_thing_or_graver_is_another_problem(tmp_path: Path) -> None:
    sender = configured(tmp_path)
    first = Alert("run nightly", "ERROR", "failed", about="2024-02-01")

    assert sender.report([first]) == 1
    assert sender.report([Alert("run nightly", "ERROR", "failed", about="2024-02-02")]) == 1
    assert sender.report([Alert("run nightly", "WARN", "slow", about="2024-02-01")]) == 1
    assert sender.report([first]) == 0


def test_an_occurrence_that_is_reported_twice_counts_once_even_after_its_end(tmp_path: Path) -> None:
    sender = configured(tmp_path)
    failed = Alert("run nightly", "ERROR", "failed", evidence="run-1", at=NOON)

    assert sender.report([failed], NOON) == 1
    assert sender.report([failed, Resolved("a later run succeeded", "run nightly", at=NOON + MINUTE)], NOON) == 1
    assert sender.report([failed], NOON + HOUR) == 0
    assert sender.open() == {}


def test_what_came_and_went_between_two_looks_is_kept_and_not_told(tmp_path: Path, hook: Webhook) -> None:
    sender = configured(tmp_path, address(hook))

    assert sender.report([DRIFT, PASSES]) == 0
    assert hook.messages == []
    assert [line["kind"] for line in sender.lines()] == ["alert", "resolved"]

    assert sender.report([DRIFT, PASSES, DRIFT, DRIFT]) == 1
    assert "2 times since" in hook.messages[0]["message"]


def test_a_pass_of_an_earlier_day_or_moment_ends_nothing(tmp_path: Path) -> None:
    sender = configured(tmp_path)
    failed = Alert("check drift", "ERROR", "drifted", day=date(2024, 3, 8), at=NOON)
    sender.report([failed], NOON)

    assert sender.report([Resolved("passes", "check drift", day=date(2024, 3, 7), at=NOON + MINUTE)]) == 0
    assert sender.report([Resolved("passes", "check drift", day=date(2024, 3, 8), at=NOON - MINUTE)]) == 0
    assert sender.report([Resolved("passes", "check drift", day=date(2024, 3, 9), at=NOON + MINUTE)]) == 1


def test_a_cure_ends_every_problem_whose_evidence_it_answers(tmp_path: Path) -> None:
    sender = configured(tmp_path)
    sender.report(
        [
            Alert("check drift", "ERROR", "drifted", evidence="check-4"),
            Alert("check drift", "ERROR", "drifted", evidence="check-9"),
            Alert("check performs", "ERROR", "fell", evidence="check-5"),
            Alert("check landed", "ERROR", "nothing", evidence="check-44"),
        ]
    )

    assert sender.report([Resolved("version 3 was promoted", evidence=("check-4", "check-5"))]) == 2
    assert [key.source for key in sender.open()] == ["check landed"]


def test_a_channel_that_is_down_gets_everything_later_and_stops_no_other(
    tmp_path: Path, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    with webhook() as other:
        sender = configured(tmp_path, address(hook), address(other))
        hook.status = 503
        assert sender.report([DRIFT, Alert("run nightly", "ERROR", "failed")], NOON) == 2
        assert (hook.attempts, len(other.messages)) == (1, 2), "one failure is enough to know that it is down"

        hook.status = 200
        assert sender.report([], NOON + MINUTE) == 0
        assert hook.titles == other.titles == ["[ERROR] check drift", "[ERROR] run nightly"]
        sender.report([], NOON + HOUR)
        assert len(hook.messages) == len(other.messages) == 2

    assert "attempt 1 of 12 to send '[ERROR] check drift': json-1: answered with status 503" in caplog.text
    failures = [line for line in sender.lines("delivery") if not line["ok"]]
    assert [line["error"] for line in failures] == ["json-1: answered with status 503"]


def test_a_channel_that_stays_down_is_given_up_after_some_hours(tmp_path: Path, hook: Webhook) -> None:
    sender = configured(tmp_path, address(hook))
    hook.status = 500
    sender.report([DRIFT], NOON)
    for minutes in range(1, 24 * 60):
        if minutes % 10 == 0 or minutes < 5:
            sender.report([], NOON + minutes * MINUTE)

    assert hook.attempts == ATTEMPTS
    last = sender.lines("delivery")[-1]
    assert (last["attempt"], last["gave_up"]) == (ATTEMPTS, True)
    hours = datetime.fromisoformat(last["recorded_at"]) - NOON
    assert 4 * HOUR < hours < 9 * HOUR
    assert len(sender.open()) == 1, "the problem itself is still there"


def test_mail_reaches_the_mailbox(tmp_path: Path, box: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{box.port}?from=perennial@example.org&to=ann@example.org,bob@example.org&mode=insecure"
    sender = configured(tmp_path, url)

    assert sender.report([DRIFT]) == 1
    assert [line["ok"] for line in sender.lines("delivery")] == [True], sender.lines("delivery")
    assert len(box.letters) == 2
    assert "Subject: [ERROR] check drift" in box.letters[0]
    assert "predictions drifted" in box.letters[0]


def test_secrets_of_addresses_are_shown_nowhere(
    tmp_path: Path, hook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = [
        f"json://ann:{SECRET}@127.0.0.1:9/{SECRET}?+X-Token={SECRET}",  # nobody listens
        address(hook),  # answers with an error
        f"slack://{SECRET}/{SECRET}/{SECRET}",  # not what this service takes
        f"nonsense://{SECRET}",
        f"mailto://ann:{SECRET}@127.0.0.1:9?from=a@example.org&to={SECRET}@example.org&mode=insecure",
    ]
    hook.status = 401
    settings = Settings(home=tmp_path, alert_urls=",".join(urls))  # type: ignore[arg-type]
    sender = alerts(settings)
    with caplog.at_level(logging.DEBUG):
        sender.report([DRIFT])

    shown = capfd.readouterr()
    everything = [caplog.text, repr(settings), repr(sender), shown.out, shown.err, settings.model_dump_json()]
    everything += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in everything if SECRET in text or "hunter2" in text]
    assert [line["error"] for line in sender.lines("delivery")] == [
        "json-1: could not be reached",
        "json-2: answered with status 401",
        "slack-3: the address is not one that Apprise understands; see PERENNIAL_ALERT_URLS",
        "nonsense-4: the address is not one that Apprise understands; see PERENNIAL_ALERT_URLS",
        "mailto-5: could not be reached",
    ]


def test_a_line_that_a_crash_has_cut_spoils_nothing(tmp_path: Path) -> None:
    sender = configured(tmp_path)
    sender.report([DRIFT], NOON)
    with sender.path.open("a") as file:
        file.write('{"at": "2026-03')

    assert sender.report([DRIFT], NOON + HOUR) == 0
    assert sender.report([PASSES], NOON + 2 * HOUR) == 1
    assert [line["kind"] for line in sender.lines()] == ["alert", "alert", "resolved"]
