"""What a partition, a check or a model version touches: `python -m pipelines.blast_radius raw/weather:2013-07-08`.

Lists every partition, model, deployment and forecast that was made from it, with the reasons; only what was
materialized, and only rows that may have read it. With ``--run`` makes again what would come out otherwise: from what
landed to the reports, forecasts with the version that was live then. Forecasts as they were issued are kept, and
performance is judged on them, unless ``--reissue`` says that the new ones count. No model is trained: the list says
which have learnt from touched data, and how to retrain.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from assets.drift_report import drift_table
from assets.issued import issued_versions
from assets.lineage import Lineage
from assets.performance_history import kept_columns, performance_table
from lifecycle.blast_radius import Radius, Touch, TouchedVersion, ranges
from lifecycle.calendar import days_between
from lifecycle.diagnosis import moved_columns, suspects
from lifecycle.pipeline import Pipeline
from pipelines.build import build_definitions
from pipelines.instance import open_instance
from pipelines.jobs import retrain_name
from pipelines.rematerialize import Rematerializer, Step, landed_beside, not_landed, steps
from resources.configured import plain_clients
from resources.lake import Lake
from resources.landing import Landing
from resources.settings import Settings, quiet_environment

_DAYS = r"(?P<first>\d{4}-\d\d-\d\d)(\.\.(?P<last>\d{4}-\d\d-\d\d))?"
_FORM = re.compile(rf"^(?P<asset>[\w/]+)(:(?P<check>\w+))?:{_DAYS}$")
_VERSION = re.compile(r"^version:(?P<number>\d+)$")
_HELP = (
    "raw/weather:2013-07-08, validated/weather:2013-07-08..2013-07-10, validated/weather:contract:2013-07-08, "
    "drift_report:no_drift:2013-07-08 or version:3"
)


@dataclass(frozen=True)
class Named:
    """What somebody asked about: partitions, or model versions."""

    partitions: Mapping[str, tuple[date, ...]]
    versions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Project:
    """A pipeline with all that says what was made from what."""

    pipeline: Pipeline
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    lineage: Lineage

    @classmethod
    def opened(cls, pipeline: Pipeline, settings: Settings) -> Project:
        definitions, instance = build_definitions([pipeline], settings), open_instance(settings)
        registry, ledger = plain_clients(settings)
        specs = tuple(definitions.resolve_all_asset_specs())
        return cls(pipeline, definitions, instance, Lineage(pipeline, specs, ledger.lake, registry, ledger, instance))

    @property
    def lake(self) -> Lake:
        return self.lineage.lake

    def named(self, what: str) -> Named:
        """What a text means.

        A check of the drift report means what moved, since when; one of the performance report, the forecasts it
        judged; any other, the partition it is about.

        Raises
        ------
        ValueError
            If it means nothing that exists.
        """
        if found := _VERSION.match(what):
            return self._version(int(found["number"]))
        found = _FORM.match(what.removeprefix(f"{self.pipeline.name}/"))
        if not found:
            raise ValueError(f"{what!r} is no partition, check or version; write {_HELP}")
        asset = found["asset"]
        if asset not in self.lineage.materialized:
            raise ValueError(
                f"{self.pipeline.name!r} has no asset {asset!r}; it has {sorted(self.lineage.materialized)}"
            )
        days = self._days(
            asset, date.fromisoformat(found["first"]), date.fromisoformat(found["last"] or found["first"])
        )
        if found["check"]:
            self._require_check(asset, found["check"])
            return self._of_check(asset, days)
        return Named({asset: days})

    def radius(self, what: str) -> tuple[Named, Radius]:
        named = self.named(what)
        return named, self.lineage.radius(what, named.partitions, named.versions)

    def repair(self, named: Named, reissue: bool = False) -> list[Step]:
        """The runs that make again what would come out otherwise."""
        touches = self.lineage.repairable(named.partitions, reissue) if named.partitions else {}
        newest = max((max(days) for days in self.lineage.materialized.values() if days), default=date.min)
        return steps(touches, newest)

    def _version(self, number: int) -> Named:
        known = [version.number for version in self.lineage.versions]
        if number not in known:
            raise ValueError(f"no version {number} of {self.pipeline.name!r} is registered; there are {sorted(known)}")
        return Named({}, (number,))

    def _days(self, asset: str, first: date, last: date) -> tuple[date, ...]:
        there = self.lineage.materialized[asset]
        days = tuple(day for day in days_between(first, last) if day in there)
        if not days:
            asked = str(first) if first == last else f"{first} to {last}"
            raise ValueError(f"{asset} was never materialized for {asked}; it was for {ranges(there) or 'no day'}")
        return days

    def _require_check(self, asset: str, check: str) -> None:
        keys = self.definitions.resolve_asset_graph().asset_check_keys
        known = sorted(key.name for key in keys if "/".join(key.asset_key.path[1:]) == asset)
        if check not in known:
            raise ValueError(f"{asset} has no check {check!r}; it has {known}")

    def _of_check(self, asset: str, days: tuple[date, ...]) -> Named:
        if asset == "drift_report":
            return self._moved(days)
        if asset == "performance_report":
            return self._judged(days)
        return Named({asset: days})

    def _judged(self, days: tuple[date, ...]) -> Named:
        """The forecasts that performance reports judge: those of the version that each is about."""
        first = days[0] - timedelta(days=self.pipeline.monitor.performance_days)
        there = self.lineage.materialized["batch_predictions"]
        window = [day for day in days_between(first, days[-1] - timedelta(days=1)) if day in there]
        reports = self.lake.read_if_exists(performance_table(self.pipeline), kept_columns(), days[0], days[-1])
        about, made_by = set(reports["model_version"]), issued_versions(self.pipeline, self.lake, window)
        return Named({"batch_predictions": tuple(day for day in window if made_by.get(day) in about)})

    def _moved(self, days: tuple[date, ...]) -> Named:
        found: dict[str, set[date]] = {}
        for day in days:
            columns, _ = moved_columns(self.lake.read_if_exists(drift_table(self.pipeline), {}, day, day))
            for source, since in suspects(self.pipeline, columns, day).items():
                found.setdefault(source, set()).update(since)
        if not found:
            raise ValueError(
                f"the drift report of {ranges(days)} calls nothing drifted: there is nothing to start from"
            )
        return Named({source: tuple(sorted(since)) for source, since in found.items()})


def described(project: Project, radius: Radius, todo: list[Step]) -> Iterator[str]:
    """The blast radius in lines that people read."""
    yield f"Touched by {radius.what}"
    yield ""
    rows: list[tuple[str, ...]] = [("asset", "days", "which", "rows touched", "why")]
    for asset, touches in radius.partitions.items():
        some, total = radius.touched_rows(asset)
        counted = "" if total is None else f"{some:,}" if some == total else f"{some:,} of {total:,}"
        rows.append((asset, str(len(touches)), ranges(touches), counted, _first(radius.reasons(asset))))
    yield from _aligned(rows)
    yield ""
    yield from _versions(project.pipeline, radius)
    yield ""
    yield from _forecasts(radius)
    yield ""
    if not todo:
        yield "Nothing would come out otherwise if it were made again with the models as they are."
        return
    yield f"--run makes again, in {len(todo)} runs and in this order:"
    yield from (f"  {line}" for line in _summary(todo))


def _summary(todo: list[Step]) -> Iterator[str]:
    """The steps, those of the same assets in one line."""
    merged: dict[tuple[str, ...], list[date]] = {}
    for step in todo:
        merged.setdefault(step.assets, []).extend(days_between(step.first, step.last))
    for assets, days in merged.items():
        yield f"{', '.join(assets)}: {ranges(days)}"


def _first(reasons: list[str], most: int = 3) -> str:
    more = len(reasons) - most
    return "; ".join(reasons[:most]) + (f"; and {more} more" if more > 0 else "")


def _versions(pipeline: Pipeline, radius: Radius) -> Iterator[str]:
    if not radius.versions:
        yield "No model version has learnt from it."
        return
    rows: list[tuple[str, ...]] = [
        ("version", "trained", "rows learnt from", "rows judged on", "data it read", "forecasts", "at the close of")
    ]
    rows += [
        (
            f"{version.number} {version.role}".strip(),
            str(version.day),
            _of(version.learnt, version.learnt_of),
            _of(version.judged, version.judged_of),
            {None: "", True: "written again since", False: "as it is now"}[version.rewritten],
            f"{version.forecasts:,}",
            ranges(version.days) or "none",
        )
        for version in radius.versions
    ]
    yield from _aligned(rows)
    champion = radius.champion_version
    if champion is None:
        yield f"The champion, version {radius.champion or 'none'}, is not among them."
    else:
        yield _champion(champion, pipeline)


def _champion(champion: TouchedVersion, pipeline: Pipeline) -> str:
    if champion.learnt == 0:
        learnt = "was judged by the gate on touched rows, but has learnt from none"
    else:
        learnt = "has learnt from touched rows" + (
            f", {champion.learnt / champion.learnt_of:.1%} of its own" if champion.learnt and champion.learnt_of else ""
        )
    how = f"materialize the assets of the job {retrain_name(pipeline)} for the newest day"
    return f"The champion, version {champion.number}, {learnt}. To retrain once the data is right: {how}."


def _forecasts(radius: Radius) -> Iterator[str]:
    touches = radius.partitions.get("batch_predictions")
    if not touches:
        yield "No forecast is touched."
        return
    by_version: dict[int | None, list[date]] = {}
    for day, number in radius.live.items():
        by_version.setdefault(number, []).append(day)
    for number, days in sorted(by_version.items(), key=lambda item: min(item[1])):
        who = f"version {number}" if number is not None else "no version"
        inputs = [day for day in days if _of_inputs(touches[day])]
        yield f"Live at the close of {ranges(days)}: {who}" + (
            "" if len(inputs) == len(days) else f"; inputs of its forecasts are touched on {ranges(inputs) or 'no day'}"
        )


def _of_inputs(touch: Touch) -> bool:
    """Whether forecasts are touched themselves, and not by their model alone."""
    return not touch.because or any("/" in because.upstream for because in touch.because)


def _of(some: int | None, total: int | None) -> str:
    return "" if total is None else f"{some:,} of {total:,}"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def document(radius: Radius, todo: list[Step]) -> dict[str, Any]:
    """The blast radius for machines."""
    return {
        "what": radius.what,
        "named": {asset: list(map(str, days)) for asset, days in radius.named.items()},
        "partitions": {
            asset: [
                {
                    "day": str(day),
                    "rows": radius.sizes.get(asset, {}).get(day),
                    "touched_rows": touch.rows,
                    "because": [
                        {
                            "upstream": b.upstream,
                            "first": str(b.first),
                            "last": str(b.last),
                            "why": b.why,
                            "rows": b.rows,
                        }
                        for b in touch.because
                    ],
                }
                for day, touch in touches.items()
            ]
            for asset, touches in radius.partitions.items()
        },
        "versions": [
            {**vars(version), "day": str(version.day), "trained_through": str(version.trained_through)}
            | {"days": list(map(str, version.days))}
            for version in radius.versions
        ],
        "live": {str(day): number for day, number in radius.live.items()},
        "champion": radius.champion,
        "champion_touched": radius.champion_version is not None,
        "repair": [{"assets": step.assets, "first": str(step.first), "last": str(step.last)} for step in todo],
    }


def repair(project: Project, what: str, todo: list[Step], landing: Landing, reissue: bool = False) -> Iterator[str]:
    """Runs the steps and tells of each; see ``Rematerializer.run``.

    Raises
    ------
    RuntimeError
        If a run fails, a night is under way, or files to be ingested again are gone.
    """
    gone = not_landed(project.pipeline, todo, landing, project.lake)
    if gone:
        raise RuntimeError(
            f"files of {', '.join(gone[:5])} are not in {landing.root} any more; to ingest them again would empty "
            "these partitions: put the files back, or name the validated ones"
        )
    beside = landed_beside(project.pipeline, todo, landing)
    if beside:
        yield f"{', '.join(beside)} landed anew as well and is not made again here: run this command for it, too"
    runner = Rematerializer(project.pipeline, project.definitions, project.instance, project.lake)
    for number, (step, seconds) in enumerate(runner.run(todo, what, reissue), start=1):
        yield f"[{number}/{len(todo)}] {step}  {seconds:.1f} s"


def main(arguments: list[str] | None = None) -> int:
    quiet_environment()
    parser = argparse.ArgumentParser(description=(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help=_HELP)
    parser.add_argument("--pipeline", help="default: the first in the setting PERENNIAL_PIPELINES")
    parser.add_argument("--json", action="store_true", help="print it for machines")
    parser.add_argument("--run", action="store_true", help="make again what would come out otherwise")
    parser.add_argument("--reissue", action="store_true", help="with --run: the new forecasts count as issued")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    try:
        project = Project.opened(_declared(settings, chosen.pipeline), settings)
        named, radius = project.radius(chosen.what)
    except ValueError as error:
        parser.error(str(error))
    todo = project.repair(named, chosen.reissue)
    print(json.dumps(document(radius, todo), indent=1) if chosen.json else "\n".join(described(project, radius, todo)))
    if not chosen.run:
        return 0
    if named.versions:
        parser.error("a version is not made again: roll back with python -m pipelines.rollback, or retrain")
    try:
        landing = Landing(settings.landing, settings.root / "ingested")
        for line in repair(project, chosen.what, todo, landing, chosen.reissue):
            print(line, file=sys.stderr if chosen.json else sys.stdout, flush=True)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _declared(settings: Settings, name: str | None) -> Pipeline:
    pipelines = [importlib.import_module(module.strip()).PIPELINE for module in settings.pipelines.split(",")]
    for pipeline in pipelines:
        if name in (None, pipeline.name):
            declared: Pipeline = pipeline
            return declared
    raise ValueError(f"no pipeline {name!r}; declared are {[pipeline.name for pipeline in pipelines]}")


if __name__ == "__main__":
    sys.exit(main())
