"""What every input of a model is, in words and as a fingerprint, and whether that is still what a version learnt from.

What belongs here: definitions as they follow from the declaration, their comparison, and the name of the service that
pins them. Where a version keeps them is the registry's business; who is refused what is the assets'.

A fingerprint takes in all that a value depends on: source, entity, function, window, the expression of the value, what
must be present, how long it holds, and the fingerprints of the features and lookups it is made from. Descriptions,
ranges, owners and the view it is kept in are no part of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from lifecycle.features import Aggregate, Derived, Feature, View, WindowView, aggregate_name, window_label
from lifecycle.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["window", "latest", "derived", "request"]

FINGERPRINT_CHARACTERS = 8
SHORT_TEXT = 240


@dataclass(frozen=True)
class Definition:
    """What one feature is.

    Parameters
    ----------
    kind : an aggregate over a window, the latest value, computed from other values, or a column of the request.
    entity : the join keys; none for what is computed when it is asked for.
    source : the source table, or "request".
    text : the definition as people read it.
    fingerprint : changes when the value may change.
    outline : the fingerprint without how expressions are written, which differs between versions of Polars; it still
        knows which columns they read.
    uses : the features it is made from, all the way down.
    """

    name: str
    kind: Kind
    type: str
    entity: tuple[str, ...]
    source: str
    text: str
    fingerprint: str
    outline: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A feature that a version learnt from and that is not what it was.

    Parameters
    ----------
    before, now : the definitions in short; None where it is not known, or not declared any more.
    """

    feature: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        before = self.before or "declared (its definition was not recorded)"
        return f"{self.feature!r} was: {before}; now it is: {self.now or 'not declared'}"


def definitions(pipeline: Pipeline) -> dict[str, Definition]:
    """The definition of every feature of a pipeline, in the order of ``pipeline.features``.

    Raises
    ------
    ValueError
        If an expression cannot be written down.
    """
    return dict(_definitions(_Same(pipeline)))


@dataclass(frozen=True, eq=False)
class _Same:
    """A pipeline as the very object it is: to compare two by all they declare would cost what is to be saved."""

    pipeline: Pipeline

    def __hash__(self) -> int:
        return id(self.pipeline)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.pipeline is other.pipeline


@lru_cache(maxsize=16)
def _definitions(same: _Same) -> dict[str, Definition]:
    """A night asks a dozen times; writing down the expressions takes some milliseconds."""
    pipeline = same.pipeline
    found = {}
    for lookup in pipeline.lookups:
        view = pipeline.view(lookup.view)
        found[lookup.key] = _named(_view_definitions(pipeline, view, {}), lookup.feature)
    offered = {feature.name for feature in pipeline.stored_features}
    stored = {
        definition.name: definition
        for view in pipeline.views
        for definition in _view_definitions(pipeline, view, found)
        if definition.name in offered
    }
    derived: dict[str, Definition] = {}
    for feature in pipeline.derived:
        derived[feature.name] = _derived(pipeline, feature, {**found, **stored, **derived})
    return {feature.name: (derived | stored)[feature.name] for feature in pipeline.features}


def service_name(pipeline: Pipeline, features: Sequence[Feature]) -> str:
    """Name of the Feast service of some features: its version follows from what they are.

    Examples
    --------
    ``flight_delays_features_3f2a91c0``
    """
    declared = definitions(pipeline)
    view_of = {feature.name: view.name for view in pipeline.views for feature in view.features}
    pinned = [(feature.name, view_of.get(feature.name, ""), declared[feature.name].fingerprint) for feature in features]
    return f"{pipeline.name}_features_{_hash(sorted(pinned))}"


def served_by_store(pipeline: Pipeline, features: Sequence[Feature]) -> set[str]:
    """The names of the stored features among some features and what they are made from."""
    declared = definitions(pipeline)
    wanted = {name for feature in features for name in (feature.name, *declared[feature.name].uses)}
    return wanted & {feature.name for feature in pipeline.stored_features}


def record(pipeline: Pipeline) -> dict[str, Any]:
    """The definitions of what a model learns from, to be kept with it; can be written as JSON."""
    import polars as pl

    declared = definitions(pipeline)
    return {
        "service": pipeline.feature_service,
        "polars": pl.__version__,
        "features": {
            feature.name: {
                "fingerprint": declared[feature.name].fingerprint,
                "outline": declared[feature.name].outline,
                "definition": declared[feature.name].text,
            }
            for feature in pipeline.inputs
        },
    }


def fingerprints(recorded: Mapping[str, Any]) -> dict[str, str]:
    """The fingerprints of a record, by feature."""
    return {name: entry["fingerprint"] for name, entry in recorded["features"].items()}


def differing(features: Iterable[str], known: Mapping[str, str], declared: Mapping[str, Definition]) -> tuple[str, ...]:
    """The features that are not declared any more, or not as their known fingerprint says.

    A feature without a known fingerprint is only asked to be declared.
    """
    return tuple(
        name
        for name in features
        if name not in declared or known.get(name, declared[name].fingerprint) != declared[name].fingerprint
    )


def changes(
    features: Sequence[str], recorded: Mapping[str, Any], declared: Mapping[str, Definition]
) -> tuple[Change, ...]:
    """What of the features that a version takes is not what it learnt from.

    Parameters
    ----------
    recorded : what ``record`` gave when it was trained; empty where nothing was kept.

    Notes
    -----
    Another version of Polars may write the same expression otherwise. Expressions recorded by another one are
    therefore only compared in which columns they read.
    """
    import polars as pl

    before = recorded.get("features", {})
    compared = "fingerprint" if recorded.get("polars") == pl.__version__ else "outline"
    found = []
    for name in features:
        entry, now = before.get(name), declared.get(name)
        if now is None or (entry is not None and entry[compared] != getattr(now, compared)):
            found.append(
                Change(
                    name,
                    _short(entry["definition"], entry["fingerprint"]) if entry else None,
                    _short(now.text, now.fingerprint) if now else None,
                )
            )
    return tuple(found)


def duration(span: timedelta) -> str:
    """A span of time in short: days where it is whole days, then hours, else minutes.

    Examples
    --------
    >>> duration(timedelta(days=31)), duration(timedelta(hours=12)), duration(timedelta(minutes=90))
    ('31 d', '12 h', '90 min')
    """
    minutes = round(span.total_seconds() / 60)
    for unit, length in (("d", 24 * 60), ("h", 60)):
        if minutes and minutes % length == 0:
            return f"{minutes // length} {unit}"
    return f"{minutes} min"


def _view_definitions(pipeline: Pipeline, view: View, found: Mapping[str, Definition]) -> list[Definition]:
    """The features of a view; ``found`` has what tells the join keys that are looked up."""
    known_at = pipeline.table(view.table).known_at
    lookups = {key: found[key] for key in view.keys if key in found}
    place = f"per {' × '.join(view.keys)}, from {view.table} by {known_at}"
    tail = f"; missing when older than {duration(view.ttl)}" if view.ttl else ""
    for key, by in lookups.items():
        tail += f"; {key} is looked up: {by.text}"
    content = {
        "keys": list(view.keys),
        "table": view.table,
        "known_at": known_at,
        "ttl": view.ttl.total_seconds() if view.ttl else None,
    }
    uses = tuple(name for by in lookups.values() for name in (by.name, *by.uses))

    def defined(feature: Feature, kind: Kind, what: str, own: dict[str, Any], value: _Value | None) -> Definition:
        def hashed(part: Callable[[Definition], str], expression: str) -> str:
            depends = {key: part(by) for key, by in lookups.items()}
            return _hash([kind, feature.type, content, own, expression, depends])

        return Definition(
            name=feature.name,
            kind=kind,
            type=feature.type,
            entity=view.keys,
            source=view.table,
            text=f"{what} {place}{tail}",
            fingerprint=hashed(lambda by: by.fingerprint, value.serialized if value else ""),
            outline=hashed(lambda by: by.outline, value.outline if value else ""),
            uses=uses,
        )

    if isinstance(view, WindowView):
        by_name = {feature.name: feature for feature in view.features}
        return [
            defined(by_name[aggregate_name(view, aggregate, window)], "window", *_aggregated(aggregate, window))
            for aggregate in view.aggregates
            for window in aggregate.windows
        ]
    present = f" of the rows with {', '.join(view.needs)}" if view.needs else ""
    return [
        defined(feature, "latest", f"latest {column}{present}", {"column": column, "needs": sorted(view.needs)}, None)
        for column, feature in view.columns
    ]


def _aggregated(aggregate: Aggregate, window: timedelta) -> tuple[str, dict[str, Any], _Value | None]:
    """What an aggregate is in words, its content, and its value."""
    own: dict[str, Any] = {"function": aggregate.function, "window": window.total_seconds()}
    if aggregate.function == "count":
        return f"number of facts in the last {window_label(window)}", own, None
    import polars as pl

    written = aggregate.expression is not None
    value = _Value.of(aggregate.expression() if aggregate.expression else pl.col(aggregate.value), aggregate.value)
    subject = f"{aggregate.value} = {value.text}" if written else aggregate.value
    return f"{aggregate.function} of {subject} over the last {window_label(window)}", own, value


def _derived(pipeline: Pipeline, feature: Derived, before: Mapping[str, Definition]) -> Definition:
    """``before`` has what it can be made from: stored features, looked-up keys, and derived features before it."""
    import polars as pl

    value = _Value.of(feature.expression() if feature.expression else pl.col(feature.name), feature.name)
    used = {name: before[name] for name in value.columns if name in before}
    asked = [name for name in value.columns if name not in used]
    # The name of the moment of the event is the same in all pipelines; the column it comes from is not.
    columns = [pipeline.spine.event_time if name == "event_time" else name for name in asked]

    def hashed(part: Callable[[Definition], str], expression: str) -> str:
        depends = {name: part(definition) for name, definition in used.items()}
        return _hash(["derived", feature.feature.type, expression, sorted(columns), depends])

    made = feature.expression is not None
    return Definition(
        name=feature.name,
        kind="derived" if made else "request",
        type=feature.feature.type,
        entity=(),
        source="request" if not used else "request, features" if asked else "features",
        text=value.text if made else f"the request's {feature.name}",
        fingerprint=hashed(lambda definition: definition.fingerprint, value.serialized),
        outline=hashed(lambda definition: definition.outline, value.outline),
        uses=tuple(dict.fromkeys(use for definition in used.values() for use in (definition.name, *definition.uses))),
    )


@dataclass(frozen=True)
class _Value:
    """An expression written down: for people, whole, and in outline."""

    text: str
    serialized: str
    columns: tuple[str, ...]

    @property
    def outline(self) -> str:
        return json.dumps(self.columns)

    @staticmethod
    def of(expression: pl.Expr, name: str) -> _Value:
        # As text an expression lacks time zones and the middle of long tables; serialized it has everything.
        try:
            serialized = expression.meta.serialize(format="json")
        except Exception as error:
            raise ValueError(
                f"the expression of {name!r} cannot be written down: {error}. Make it of Polars' own expressions: a "
                "Python function has no definition that could be compared"
            ) from error
        columns = tuple(sorted(set(expression.meta.root_names())))
        return _Value(_plain(str(expression), serialized), serialized, columns)


def _plain(text: str, serialized: str) -> str:
    """Polars' own notation for people: ``[(col("a").strict_cast(Float64)) + (dyn int: 1)]`` becomes ``a + 1``."""
    zones = set(re.findall(r'"ConvertTimeZone":\{"inner":"([^"]+)"', serialized))
    if len(zones) == 1:
        text = text.replace("convert_time_zone()", f"convert_time_zone({zones.pop()})")
    for pattern, plain in (
        (r'col\("([^"]*)"\)', r"\1"),
        (r"dyn (?:int|float): ", ""),
        (r"\.(?:strict_)?cast\(Float64\)", ""),
        (r"\[\(", "(("),
        (r"\)\]", "))"),
    ):
        text = re.sub(pattern, plain, text)
    return _without_doubled_brackets(re.sub(r'(?<!\w)\(([\w.]+|"[^"]*")\)', r"\1", text))


def _without_doubled_brackets(text: str) -> str:
    """``((a + b)) * c`` as ``(a + b) * c``; as it is where brackets do not match, as those within a text may not."""
    wrapped, opened, closes = f"({text})", [], {}
    for place, character in enumerate(wrapped):
        if character == "(":
            opened.append(place)
        elif character == ")":
            if not opened:
                return text
            closes[opened.pop()] = place
    if opened:
        return text
    doubled = {end for start, close in closes.items() if closes.get(start + 1) == close - 1 for end in (start, close)}
    return "".join(character for place, character in enumerate(wrapped) if place not in doubled)[1:-1]


def _named(found: Iterable[Definition], name: str) -> Definition:
    return next(definition for definition in found if definition.name == name)


def _short(text: str, fingerprint: str) -> str:
    cut = text if len(text) <= SHORT_TEXT else f"{text[: SHORT_TEXT - 1]}…"
    return f"{cut} [{fingerprint}]"


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_CHARACTERS]
