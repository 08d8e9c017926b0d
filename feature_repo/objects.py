"""Feast objects made from declared views. What belongs here: the translation, nothing of one pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lifecycle.definitions import Definition, definitions, served_by_store, service_name
from lifecycle.features import Feature, View
from lifecycle.pipeline import Pipeline

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView


def view_name(pipeline: Pipeline, view: View) -> str:
    """Name of a view in the registry that all pipelines share."""
    return f"{pipeline.name}__{view.name}"


def view_table(pipeline: Pipeline, view: View) -> str:
    """The lake table that holds a view's rows."""
    return f"{pipeline.name}/features/{view.name}"


def owner_of(pipeline: Pipeline, view: View) -> str:
    """Who answers for a view: its own owner, or else the pipeline's."""
    return view.owner or pipeline.owner


def feast_objects(
    pipeline: Pipeline, table_path: Callable[[str], str]
) -> tuple[list[Entity], list[FeatureView], list[FeatureService]]:
    """The entities, views and services of a pipeline.

    A service has its version in its name, so that a model keeps the one it was trained with: there is one of what new
    models learn from, and one of all features where some are retired.

    Parameters
    ----------
    table_path : gives the absolute path or URI of a lake table.
    """
    entities = _entities(pipeline)
    declared = definitions(pipeline)
    views = [_view(pipeline, view, entities, declared, table_path) for view in pipeline.views]
    services = [_service(pipeline, views, pipeline.inputs)]
    if pipeline.retired:
        services.append(_service(pipeline, views, pipeline.features))
    return list(entities.values()), views, services


def kept_services(pipeline: Pipeline, registered: Iterable[FeatureService]) -> list[FeatureService]:
    """The services of a pipeline's earlier declarations: versions of its model are pinned to them.

    Whatever makes the registry anew from the declarations must hand these on.
    """
    declared = {service_name(pipeline, features) for features in (pipeline.inputs, pipeline.features)}
    return [
        service
        for service in registered
        if service.tags.get("pipeline") == pipeline.name and service.name not in declared
    ]


def _entities(pipeline: Pipeline) -> dict[str, Entity]:
    from feast import Entity, ValueType

    entities = {}
    for key, kind in _key_types(pipeline).items():
        tables = dict.fromkeys(view.table for view in pipeline.views if key in view.keys)
        described = (pipeline.table(table).contract.column(key).description for table in tables)
        entities[key] = Entity(
            name=key,
            join_keys=[key],
            value_type=ValueType.INT64 if kind == "int" else ValueType.STRING,
            description=next((text for text in described if text), key),
            owner=pipeline.owner,
            tags={"type": kind},
        )
    return entities


def _view(
    pipeline: Pipeline,
    view: View,
    entities: Mapping[str, Entity],
    declared: Mapping[str, Definition],
    table_path: Callable[[str], str],
) -> FeatureView:
    from feast import FeatureView, Field, FileSource
    from feast.data_format import DeltaFormat
    from feast.types import Float64, Int64, String

    types = {"float": Float64, "int": Int64, "string": String}
    key_types = _key_types(pipeline)
    owner = owner_of(pipeline, view)
    tags = {"pipeline": pipeline.name, "table": view.table, "group": "features"}
    name = view_name(pipeline, view)
    return FeatureView(
        name=name,
        description=view.description,
        owner=owner,
        tags=tags,
        entities=[entities[key] for key in view.keys],
        ttl=view.ttl,
        schema=[
            *(Field(name=key, dtype=types[key_types[key]]) for key in view.keys),
            *(
                Field(name=f.name, dtype=types[f.type], description=f.description, tags=_field_tags(f, declared))
                for f in view.features
            ),
        ],
        source=FileSource(
            name=f"{name}__source",
            description=f"Rows of the view {view.name} in the lake.",
            owner=owner,
            tags=tags,
            path=table_path(view_table(pipeline, view)),
            file_format=DeltaFormat(),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        ),
    )


def _field_tags(feature: Feature, declared: Mapping[str, Definition]) -> dict[str, str]:
    """What a lookup finds is no feature of the model: it has no definition of its own."""
    found = declared.get(feature.name)
    return {"definition": found.text, "fingerprint": found.fingerprint} if found else {"used_for": "lookup"}


def _service(pipeline: Pipeline, views: Sequence[FeatureView], features: tuple[Feature, ...]) -> FeatureService:
    from feast import FeatureService

    stored = served_by_store(pipeline, features)
    of_view = {
        view_name(pipeline, view): [feature.name for feature in view.features if feature.name in stored]
        for view in pipeline.views
    }
    computed = [derived.name for derived in pipeline.derived if derived.feature in features]
    return FeatureService(
        name=service_name(pipeline, features),
        features=[view[of_view[view.name]] for view in views if of_view[view.name]],
        owner=pipeline.owner,
        description=f"What a model of the pipeline {pipeline.name} takes from the store: {len(stored)} features. "
        f"{len(computed)} more are computed when it is asked.",
        tags={
            "pipeline": pipeline.name,
            "group": "features",
            "computed": ",".join(computed),
            "retired": ",".join(feature.name for feature in features if feature.name in pipeline.retired),
        },
    )


def _key_types(pipeline: Pipeline) -> dict[str, str]:
    """The types of the join keys, as the contracts of the views' tables declare them.

    Raises
    ------
    ValueError
        If a key is neither text nor a whole number, or is one here and the other there.
    """
    found: dict[str, str] = {}
    for view in pipeline.views:
        for key in view.keys:
            kind = pipeline.table(view.table).contract.column(key).type
            if kind not in ("string", "int") or found.setdefault(key, kind) != kind:
                raise ValueError(
                    f"view {view.name!r}: join key {key!r} is {kind} in table {view.table!r}; keys must be of type "
                    f"string or int, and the same in all tables"
                )
    return found
