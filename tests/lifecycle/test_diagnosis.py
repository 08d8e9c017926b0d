"""From reports to a diagnosis: what moved first, where it comes from, what comes next; and the page that says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from lifecycle.blast_radius import Radius, Touch, TouchedVersion
from lifecycle.diagnosis import (
    Diagnosis,
    Doubt,
    Serving,
    markdown,
    moved_columns,
    moved_rows,
    outlook,
    suspects,
    worse_slices,
)
from lifecycle.pipeline import RetrainPolicy
from lifecycle.policy import Night
from lifecycle.retraining import State
from resources.diagnosis_page import write_diagnosis
from tests.tiny import TINY

DAY = date(2024, 3, 10)
SINCE = date(2024, 3, 8)


def column(name: str, kind: str = "feature", **values: object) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "psi": 0.4,
        "expected_psi": 0.01,
        "drifted": True,
        "drifted_since": SINCE,
        "harmful": False,
        "rank": 0.0,
        "importance": 0.02,
        "loss_change": 0.01,
        "harm": 0.005,
        "missing_reference": 0.0,
        "missing_current": 0.25,
        "mean_reference": 2.0,
        "mean_current": 3.0,
        "new_categories": [],
    } | values


TABLE = pl.DataFrame(
    [
        column("prediction", "prediction", drifted=False),
        column("seats", rank=0.2),
        column("discount", rank=0.1, harmful=True, drifted_since=date(2024, 3, 9)),
        column("cafe_orders_count_24h", rank=0.5),
        column("hour", drifted=False),
    ]
)


def diagnosis() -> Diagnosis:
    moved, steady = moved_columns(TABLE)
    version = TouchedVersion(2, DAY, SINCE, "champion", 30, 900, 0, 40, False, 80, (SINCE, DAY))
    return Diagnosis(
        pipeline=TINY.name,
        day=DAY,
        first_day=date(2024, 3, 6),
        since=DAY,
        errors={"drift_report:no_drift": "Feature <discount> drifted | badly."},
        moved=moved,
        steady=steady,
        slices=worse_slices(
            [{"slice": "cafe", "value": "harbour", "rows": 90, "loss": 5.0}],
            [{"slice": "cafe", "value": "harbour", "rows": 90, "loss": 4.0}],
        ),
        doubts=(Doubt("validated/slots", SINCE, "has 3 rows in quarantine"),),
        radius=Radius(
            f"drift_report:no_drift:{DAY}",
            {"validated/slots": (SINCE, DAY)},
            {"batch_predictions": {SINCE: Touch(SINCE), DAY: Touch(DAY)}},
            {},
            (version,),
            {SINCE: 1, DAY: 2},
            2,
        ),
        serving=Serving(2, SINCE, SINCE, "gate", "version 2 is better."),
        decided=("2024-03-08 promotion of version 2 by gate",),
        next="No retraining now. Cooling down until 2024-03-20.",
        links={"drift": "http://localhost:3000/assets/x"},
    )


def test_what_does_harm_comes_first_then_what_weighs_most() -> None:
    moved, steady = moved_columns(TABLE)

    assert [found.name for found in moved] == ["discount", "cafe_orders_count_24h", "seats"]
    assert steady == 2


def test_a_report_of_an_earlier_release_is_read_as_far_as_it_goes() -> None:
    old = pl.DataFrame({"name": ["prediction", "seats"], "psi": [0.3, 0.1], "drifted": [True, False]})
    moved, steady = moved_columns(old)

    assert (moved[0].kind, moved[0].since, moved[0].harm, steady) == ("prediction", None, None, 1)


def test_suspected_are_the_sources_of_what_does_harm_since_it_moved() -> None:
    moved, _ = moved_columns(TABLE)

    # A column of the request comes with the announcement.
    assert suspects(TINY, moved, DAY) == {"validated/slots": (date(2024, 3, 9), DAY)}


JUMPED = {"drifted": False, "harmful": True, "drifted_since": None, "harm": -0.05, "jump_harm": 0.12}


@pytest.mark.parametrize(
    ("jump", "told"),
    [
        ({"jump_how": "moved", "jump_group": "cafe harbour"}, "discount (jumped where cafe harbour)"),
        ({"jump_how": "alone"}, "discount (moved alone)"),
        ({"jump_how": "unseen"}, "discount (values that it never held)"),
        ({"jump_how": "repeated", "jump_value": "0.5"}, "discount (0.5 keeps coming back)"),
        ({"jump_how": "repeated"}, "discount (no value keeps coming back)"),
    ],
)
def test_what_jumped_is_told_with_its_harm_and_suspected_since_it_did(jump: dict[str, str], told: str) -> None:
    moved, _ = moved_columns(pl.DataFrame([column("discount", jump_since=DAY, **JUMPED, **jump)]))
    _, row = moved_rows(replace(diagnosis(), moved=moved))

    assert row[0] == told
    assert row[2] == str(DAY)
    doubt = "it is off by as much" if jump["jump_how"] == "alone" else "what moved is of no use"
    assert row[-1] == f"-0.05 or +0.12 if {doubt}: error"
    assert suspects(TINY, moved, DAY) == {"validated/slots": (DAY,)}


def test_without_harm_all_that_moved_is_suspected() -> None:
    moved, _ = moved_columns(TABLE.with_columns(harmful=pl.lit(value=False)))
    since = (SINCE, date(2024, 3, 9), DAY)

    assert suspects(TINY, moved, DAY) == {
        "features/cafe_orders": since,
        "features/cafe_seats": since,
        "validated/slots": since[1:],
    }


@pytest.mark.parametrize(
    ("kind", "asset"), [("prediction", "batch_predictions"), ("label", f"validated/{TINY.label.table}")]
)
def test_predictions_and_labels_have_sources_too(kind: str, asset: str) -> None:
    moved, _ = moved_columns(pl.DataFrame([column(kind, kind)]))

    assert list(suspects(TINY, moved, DAY)) == [asset]


def test_groups_are_ordered_by_what_their_growth_costs_and_small_ones_left_out() -> None:
    def group(value: str, rows: int, loss: float) -> dict[str, object]:
        return {"slice": "cafe", "value": value, "rows": rows, "loss": loss}

    now = [group("a", 100, 0.9), group("b", 900, 0.7), group("c", 900, 0.4), group("d", 5, 9.0), group("new", 90, 1.0)]
    judged = [group(value, 100, 0.5) for value in "abcd"]

    assert [found.value for found in worse_slices(now, judged)] == ["b", "a"]


def test_the_policy_says_what_it_does_next() -> None:
    night = Night(DAY, drift=("discount moved",))
    policy = RetrainPolicy(cool_down_days=14, probe_confidence=0.5)

    assert "A probe comes first" in outlook("x", night, State(date(2024, 2, 1)), policy)
    assert "Cooling down until 2024-03-19" in outlook("x", night, State(date(2024, 3, 5)), policy)
    deaf = outlook("x", night, State(date(2024, 2, 1)), replace(policy, on_drift=False))
    assert deaf.startswith("No retraining now.")
    assert "does not hear errors of drift" in deaf


def test_the_page_and_the_asset_say_the_same(tmp_path: Path) -> None:
    found = diagnosis()
    path = write_diagnosis(found, {"discount: PSI 0.40": b"png"}, tmp_path / "diagnosis" / f"{DAY}.html")
    html, text = path.read_text(), markdown(found)

    for told in (
        "drift_report:no_drift failed, today; what moved and does harm: discount",
        "2024-03-09",
        "harbour",
        "has 3 rows in quarantine",
        "forecasts by version 1, made at the close of 2024-03-08",
        "version 2 (champion) learnt from 30 of 900 rows",
        "version 2 is better.",
        "Cooling down until 2024-03-20.",
        "http://localhost:3000/assets/x",
    ):
        assert told in html, told
        assert told in text, told
    assert "&lt;discount&gt;" in html
    assert "data:image/png;base64," in html
    assert '"versions": [\n   2\n  ]' in path.with_suffix(".json").read_text()


def test_nothing_to_tell_is_told() -> None:
    bare = replace(diagnosis(), moved=(), slices=(), doubts=(), radius=None, serving=None, decided=(), links={})
    text = markdown(bare)

    for told in ("no check failed", "No version served", "no data is suspected"):
        assert told in text
