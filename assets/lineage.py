"""What was made from what, looked up: the asset graph, what was materialized, and which rows read which.

What belongs here: the evidence for a blast radius, from lake, registry and ledger. The walk is in
``lifecycle/blast_radius.py``; what is named and what is done about it is the caller's business.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from assets.hindcasts import hindcasts_table
from assets.issued import predictions_table
from assets.raw import raw_table
from assets.training_set import TRAIN, training_table
from assets.validated import LATEST_DAYS
from feature_repo.objects import view_table
from lifecycle.blast_radius import (
    DAY,
    Because,
    Edge,
    Evidence,
    Radius,
    Touch,
    TouchedVersion,
    Touches,
    rows_that_read,
    walk,
)
from lifecycle.business_day import business_day
from lifecycle.features import View
from lifecycle.pipeline import Pipeline
from lifecycle.spine import PREDICTION_TIME
from lifecycle.windows import lookback_days
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry, Version
from resources.tables import validated_table

if TYPE_CHECKING:
    import polars as pl

Reached = Mapping[str, Mapping[date, Touch]]
LEARNT = ("training_set", "probe", "trained_model", "registered_version", "deployment")
FEATURES, TRAINING, VERSIONS, PREDICTIONS = "features", "training_set", "registered_version", "batch_predictions"
HINDCASTS, PERFORMANCE = "hindcasts", "performance_report"


def edges(pipeline: Pipeline, specs: Iterable[dg.AssetSpec]) -> list[Edge]:
    """The asset graph of a pipeline with its partition mappings, finer where more is known than the graph says.

    Feature rows reach as far as their own view's windows, forecasts and examples read stored rows until these are too
    old, and a version forecasts until another does.
    """
    found = [
        Edge(_name(dep.asset_key), _name(spec.key), *_offsets(dep.partition_mapping))
        for spec in specs
        if spec.key.path[0] == pipeline.name
        for dep in spec.deps
    ]
    extra = [
        # Late rows are held against the days on which they could have come.
        *(Edge(f"raw/{table.name}", f"validated/{table.name}", 1, LATEST_DAYS) for table in pipeline.tables),
        Edge(VERSIONS, "deployment", 1, None, "the champion that the challenger was held against"),
        Edge(VERSIONS, PREDICTIONS, 1, None, "forecast with the version"),
        # Concept drift follows the champion's errors from night to night.
        Edge(PERFORMANCE, PERFORMANCE, 1, pipeline.monitor.concept_days, "its own earlier rows"),
    ]
    return [_finer(pipeline, edge) for edge in dict.fromkeys(found)] + extra


def _finer(pipeline: Pipeline, edge: Edge) -> Edge:
    source, _, name = edge.upstream.partition("/")
    if edge.downstream.startswith(f"{FEATURES}/"):
        reach = lookback_days(pipeline.view(edge.downstream.partition("/")[2]))
        return replace(edge, latest=reach, why=f"windows that reach back {reach} days" if reach else "")
    if source == FEATURES and edge.downstream in (PREDICTIONS, HINDCASTS, TRAINING):
        ttl = None if edge.downstream == TRAINING else pipeline.view(name).ttl
        return replace(edge, latest=ttl.days + 1 if ttl else None, why="as the latest values of an entity")
    if edge.downstream == TRAINING:
        return replace(edge, latest=None, why=_role(pipeline, name))
    if (edge.upstream, edge.downstream) == (PREDICTIONS, HINDCASTS):
        return replace(edge, why="hindcast by the version that issued it")
    if (edge.upstream, edge.downstream) == ("deployment", PREDICTIONS):
        return replace(edge, latest=None, why="forecast with the version it let serve")
    if edge.latest and edge.latest > edge.earliest:
        return replace(edge, why=f"a window of {edge.latest - edge.earliest + 1} days")
    return edge


def _role(pipeline: Pipeline, table: str) -> str:
    roles = {pipeline.spine.table: "announced events", pipeline.label.table: "labels"}
    return roles.get(table, "")


def _offsets(mapping: dg.PartitionMapping | None) -> tuple[int, int | None]:
    """Which days of the downstream asset a day goes into; the mapping tells it the other way round."""
    if mapping is None or isinstance(mapping, dg.IdentityPartitionMapping):
        return 0, 0
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return -mapping.end_offset, -mapping.start_offset
    return 0, None


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path[1:])


@dataclass(frozen=True)
class Lineage:
    """A pipeline's partitions, versions and forecasts, and what each was made from.

    Parameters
    ----------
    specs : of its assets; those not among them are not walked through.
    """

    pipeline: Pipeline
    specs: tuple[dg.AssetSpec, ...]
    lake: Lake
    registry: Registry
    ledger: Ledger
    instance: dg.DagsterInstance
    _examples: dict[date, dict[str, tuple[int | None, int | None]]] = field(default_factory=dict, compare=False)

    @cached_property
    def materialized(self) -> dict[str, frozenset[date]]:
        """The days of each asset that exist, by Dagster's log and by the lake."""
        found = {}
        for spec in self.specs:
            logged = {date.fromisoformat(day) for day in self.instance.get_materialized_partitions(spec.key)}
            found[_name(spec.key)] = frozenset(logged | set(self.lake.days(self._table(_name(spec.key)))))
        return found

    @cached_property
    def versions(self) -> list[Version]:
        return self.registry.versions(self.pipeline.name)

    def radius(self, what: str, named: Mapping[str, Collection[date]], numbers: Collection[int] = ()) -> Radius:
        """All that was made from some partitions.

        Parameters
        ----------
        what : in the words of who asks.
        named : days of each asset to start from.
        numbers : model versions to start from; their days are named, too, and no other version of these days is meant.
        """
        own = {version.day for version in self.versions if version.number in numbers}
        named = {**named, **({VERSIONS: own} if own else {})}
        partitions = walk(named, self.edges, self.materialized, self._evidence(numbers))
        champion = self.registry.champion(self.pipeline.name)
        return Radius(
            what=what,
            named={asset: tuple(sorted(days)) for asset, days in named.items()},
            partitions=partitions,
            sizes={asset: counts for asset in partitions if (counts := self.lake.row_counts(self._table(asset)))},
            versions=tuple(self._versions(partitions, numbers)),
            live=self._live(partitions),
            champion=champion.number if champion else None,
        )

    def repairable(self, named: Mapping[str, Collection[date]], reissue: bool = False) -> Touches:
        """What would come out otherwise if it were made again, leaving the models as they are.

        Not the forecasts that are touched by their model alone, nor what was made of these; and not what is judged of
        forecasts as they were issued, unless the new ones are to count as issued (``reissue``): hindcasts tell what
        came after these.
        """
        as_issued = set() if reissue else {(PREDICTIONS, PERFORMANCE)}
        kept = {*LEARNT, *(() if reissue else (HINDCASTS,))}
        left = [
            edge
            for edge in self.edges
            if not {edge.upstream, edge.downstream} & kept and (edge.upstream, edge.downstream) not in as_issued
        ]
        return walk(named, left, self.materialized, self._evidence(()))

    @cached_property
    def edges(self) -> list[Edge]:
        return edges(self.pipeline, self.specs)

    def _evidence(self, numbers: Collection[int]) -> dict[str, Evidence]:
        return {
            **{f"validated/{table.name}": self._late(table.name) for table in self.pipeline.tables},
            TRAINING: self._examples_touched,
            "deployment": lambda touched, candidates: self._decided(touched, candidates, numbers),
            PREDICTIONS: lambda touched, candidates: self._forecasts_touched(
                predictions_table(self.pipeline), (VERSIONS, "deployment"), touched, candidates, numbers
            ),
            HINDCASTS: lambda touched, candidates: self._forecasts_touched(
                hindcasts_table(self.pipeline), (PREDICTIONS,), touched, candidates, numbers
            ),
        }

    def _table(self, asset: str) -> str:
        return f"{self.pipeline.name}/{asset}"

    # Validated: late rows

    def _late(self, table: str) -> Evidence:
        asset = f"validated/{table}"

        def evidence(touched: Reached, candidates: Mapping[date, Touch]) -> dict[date, Touch]:
            landed = touched.get(f"raw/{table}", {})
            sources = sorted({*landed, *touched[asset]})
            since = self._known_since(table, sources)
            found = {day: Touch(day, (Because(f"raw/{table}", day, day),)) for day in candidates if day in landed}
            for day, known in since.items():
                held = [source for source in sources if known <= source < day]
                if held and day not in found:
                    why = "late rows, which are held against what came before"
                    found[day] = Touch(day, (Because(asset, held[0], held[-1], why),))
            return found

        return evidence

    def _known_since(self, table: str, sources: list[date]) -> dict[date, date]:
        """Of days that brought late rows: the first day on which one of these was known."""
        import polars as pl

        name, known_at = raw_table(self.pipeline, self.pipeline.table(table)), self.pipeline.table(table).known_at
        if not sources or not self.lake.exists(name):
            return {}
        rows = self.lake.read(name, sources[0] + DAY, sources[-1] + LATEST_DAYS * DAY, ["day", known_at])
        moment = pl.col(known_at).str.strip_chars().str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        first = rows.with_columns(moment.alias(known_at)).group_by("day").agg(pl.col(known_at).min())
        known = first.drop_nulls().with_columns(business_day(known_at, self.pipeline.calendar).alias("_known"))
        return {day: since for day, since in known.select("day", "_known").iter_rows() if since < day}

    # Examples and forecasts: which of their rows read which stored rows

    def _examples_touched(self, touched: Reached, candidates: Mapping[date, Touch]) -> dict[date, Touch]:
        found = {}
        for day, touch in candidates.items():
            rows = self._read(training_table(self.pipeline), day, day, ("part",))
            masks = self._masks(rows, touched)
            found[day] = self._confirm(touch, rows, masks)
            if found[day].because and rows.height:
                mask, train = _any(list(masks.values()), rows.height), rows["part"] == TRAIN
                self._examples[day] = {
                    "learnt": (int((mask & train).sum()), int(train.sum())),
                    "judged": (int((mask & ~train).sum()), int((~train).sum())),
                }
        return {day: touch for day, touch in found.items() if touch.because}

    def _forecasts_touched(
        self,
        table: str,
        by_version: tuple[str, ...],
        touched: Reached,
        candidates: Mapping[date, Touch],
        numbers: Collection[int],
    ) -> dict[date, Touch]:
        """Of forecasts or hindcasts; ``by_version`` are the assets that touch those of touched versions alone."""
        import polars as pl

        if not (candidates and self.lake.exists(table)):
            return {}
        everything = self._read(table, min(candidates), max(candidates), ("model_version",))
        everything = everything.filter(pl.col("day").is_in(list(candidates)))
        masks = self._masks(everything, touched, labels=False)
        of_version = everything["model_version"].is_in(list(self._numbers(touched, numbers))).fill_null(value=False)
        masks |= dict.fromkeys(by_version, of_version)
        found = {}
        for day, touch in candidates.items():
            here = everything["day"] == day
            found[day] = self._confirm(
                touch, everything.filter(here), {name: mask.filter(here) for name, mask in masks.items()}
            )
        return {day: touch for day, touch in found.items() if touch.because}

    def _read(self, table: str, first: date, last: date, more: tuple[str, ...]) -> "pl.DataFrame":
        keys = [*self.pipeline.spine.key, *(name for view in self.pipeline.views for name in view.keys)]
        return self.lake.read(table, first, last, [*dict.fromkeys([*keys, PREDICTION_TIME, *more, "day"])])

    def _masks(self, rows: "pl.DataFrame", touched: Reached, labels: bool = True) -> "dict[str, pl.Series]":
        """For every asset that rows are made from: which of the rows read its touched days."""
        found = {}
        for view in self.pipeline.views:
            asset = f"{FEATURES}/{view.name}"
            if touched.get(asset):
                found[asset] = self._read_view(rows, view, sorted(touched[asset]))
        tables = [self.pipeline.spine.table, *([self.pipeline.label.table] if labels else [])]
        for name in dict.fromkeys(tables):
            if touched.get(f"validated/{name}"):
                found[f"validated/{name}"] = self._brought(rows, name, sorted(touched[f"validated/{name}"]))
        return found

    def _read_view(self, rows: "pl.DataFrame", view: View, days: list[date]) -> "pl.Series":
        """Only rows that were asked about while what the days brought was not too old are looked at."""
        import polars as pl

        calendar = self.pipeline.calendar
        until = None if view.ttl is None else calendar.close(days[-1]) + view.ttl
        asked = pl.col(PREDICTION_TIME)
        near = rows.with_row_index("_at").filter(
            (asked > calendar.open(days[0])) & (pl.lit(value=True) if until is None else asked <= until)
        )
        last = calendar.day_of(until) if until else None
        columns = ["day", *view.keys, "event_timestamp", "created"]
        stored = self.lake.read(view_table(self.pipeline, view), days[0], last, columns)
        read = rows_that_read(near, view.keys, stored.filter(~pl.col("day").is_in(days)), days, view.ttl, calendar)
        places = near["_at"].filter(read)
        return pl.int_range(rows.height, eager=True).is_in(places.cast(pl.Int64).to_list())

    def _brought(self, rows: "pl.DataFrame", table: str, days: list[date]) -> "pl.Series":
        """Which rows are about events that a table's days tell of."""
        import polars as pl

        key = list(self.pipeline.spine.key)
        told = self.lake.read(validated_table(self.pipeline, table), days[0], days[-1], [*key, "day"])
        told = (
            told.filter(pl.col("day").is_in(days)).select(key).unique().with_columns(pl.lit(value=True).alias("_told"))
        )
        return rows.select(key).join(told, on=key, how="left", maintain_order="left")["_told"].fill_null(value=False)

    @staticmethod
    def _confirm(touch: Touch, rows: "pl.DataFrame", masks: "dict[str, pl.Series]") -> Touch:
        """The reasons that the rows bear out, with how many rows do."""
        counted = [
            Because(because.upstream, because.first, because.last, because.why, int(masks[because.upstream].sum()))
            for because in touch.because
            if because.upstream in masks
        ]
        # Of announcements and labels it also counts what is not there and should be.
        kept = tuple(because for because in counted if because.rows or because.upstream.startswith("validated/"))
        union = _any([masks[because.upstream] for because in kept], rows.height)
        return Touch(touch.day, kept, int(union.sum()))

    # Versions and decisions

    def _numbers(self, touched: Reached, numbers: Collection[int]) -> set[int]:
        """The touched versions: those named, or all of the touched days; and what a decision named let serve."""
        days = touched.get(VERSIONS, {})
        mine = {
            version.number
            for version in self.versions
            if version.day in days and (not numbers or version.number in numbers)
        }
        named = {day for day, touch in touched.get("deployment", {}).items() if not touch.because}
        if named:
            entries = self.ledger.entries(self.pipeline.name)
            served = entries.filter((entries["event"] == "promotion") & entries["day"].is_in(list(named)))
            mine |= set(served["version"].to_list())
        return mine

    def _decided(
        self, touched: Reached, candidates: Mapping[date, Touch], numbers: Collection[int]
    ) -> dict[date, Touch]:
        mine = self._numbers(touched, numbers)
        entries = self.ledger.entries(self.pipeline.name)
        judged = entries.filter(entries["event"] == "gate")
        against = set(judged.filter(judged["replaces"].is_in(list(mine)))["day"].to_list())
        found = {}
        for day, touch in candidates.items():
            same = tuple(because for because in touch.because if because.first <= day <= because.last)
            because = tuple(
                because for because in touch.because if because.upstream == VERSIONS and because not in same
            )
            if same or (because and day in against):
                found[day] = Touch(day, same or because)
        return found

    def _versions(self, partitions: Touches, numbers: Collection[int]) -> list[TouchedVersion]:
        mine = self._numbers(partitions, numbers)
        roles = {version.number: alias for alias, version in reversed(self.registry.live(self.pipeline.name).items())}
        made = self._forecasts
        found = []
        for version in sorted(self.versions, key=lambda each: each.number):
            if version.number not in mine:
                continue
            counted = self._examples.get(version.day, {}) if version.day in partitions.get(TRAINING, {}) else {}
            days = made.get(version.number, {})
            learnt, judged = (counted.get(part, (None, None)) for part in ("learnt", "judged"))
            found.append(
                TouchedVersion(
                    number=version.number,
                    day=version.day,
                    trained_through=version.trained_through,
                    role=roles.get(version.number, ""),
                    learnt=learnt[0],
                    learnt_of=learnt[1],
                    judged=judged[0],
                    judged_of=judged[1],
                    rewritten=self._rewritten(version, partitions),
                    forecasts=sum(days.values()),
                    days=tuple(sorted(days)),
                )
            )
        return found

    def _rewritten(self, version: Version, partitions: Touches) -> bool | None:
        """Whether the touched days of what it read were written again since; by the files, which never change."""
        recorded = json.loads(version.tags.get("data_versions", "{}"))
        read = [(asset, recorded[self._table(asset)]) for asset in partitions if self._table(asset) in recorded]
        if not read:
            return None
        for asset, at in read:
            before, now = self.lake.files(self._table(asset), at), self.lake.files(self._table(asset))
            days = [day for day in partitions[asset] if day <= version.day]
            if any(before.get(day) != now.get(day) for day in days):
                return True
        return False

    @cached_property
    def _forecasts(self) -> dict[int | None, dict[date, int]]:
        """Number of forecasts of each version and day."""
        import polars as pl

        if not self.lake.exists(predictions_table(self.pipeline)):
            return {}
        rows = self.lake.read(predictions_table(self.pipeline), columns=["day", "model_version"])
        found: dict[int | None, dict[date, int]] = {}
        for day, version, count in rows.group_by("day", "model_version").agg(pl.len()).iter_rows():
            found.setdefault(version, {})[day] = count
        return found

    def _live(self, partitions: Touches) -> dict[date, int | None]:
        days = partitions.get(PREDICTIONS, {})
        of_day = {day: number for number, made in self._forecasts.items() for day in made}
        return {day: of_day.get(day) for day in days}


def _any(masks: "list[pl.Series]", rows: int) -> "pl.Series":
    import polars as pl

    found = pl.repeat(value=False, n=rows, dtype=pl.Boolean, eager=True)
    for mask in masks:
        found = found | mask
    return found
