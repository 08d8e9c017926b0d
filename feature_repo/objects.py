"""Feast objects made from declared views. What belongs here: the translation, nothing of one pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lifecycle.features import View
from lifecycle.pipeline import Pipeline

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView


def view_name(pipeline: Pipeline, view: View) -> str:
    """Name of a view in the registry that all pipelines share."""
    return f"{pipeline.name}__{view.name}"


def view_table(pipeline: Pipeline, view: View) -> str:
    """The lake table that holds a view's rows."""
    return f"{pipeline.name}/features/{view.name}"


def feast_objects(
    pipeline: Pipeline, table_path: Callable[[str], str]
) -> tuple[list[Entity], list[FeatureView], FeatureService]:
    """The entities, views and the one service of a pipeline.

    Parameters
    ----------
    table_path : gives the absolute path or URI of a lake table.
    """
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.data_format import DeltaFormat
    from feast.types import Float64, Int64, String

    types = {"float": Float64, "int": Int64, "string": String}
    key_types = _key_types(pipeline)
    entities = {
        key: Entity(name=key, join_keys=[key], value_type=ValueType.INT64 if kind == "int" else ValueType.STRING)
        for key, kind in key_types.items()
    }
    views = [
        FeatureView(
            name=view_name(pipeline, view),
            description=view.description,
            owner=view.owner,
            tags={"pipeline": pipeline.name, "table": view.table},
            entities=[entities[key] for key in view.keys],
            ttl=view.ttl,
            schema=[
                *(Field(name=key, dtype=types[key_types[key]]) for key in view.keys),
                *(Field(name=f.name, dtype=types[f.type], description=f.description) for f in view.features),
            ],
            source=FileSource(
                name=f"{view_name(pipeline, view)}__source",
                path=table_path(view_table(pipeline, view)),
                file_format=DeltaFormat(),
                timestamp_field="event_timestamp",
                created_timestamp_column="created",
            ),
        )
        for view in pipeline.views
    ]
    of_model = {feature.name for feature in pipeline.stored_features}
    inputs = {
        view_name(pipeline, view): [feature.name for feature in view.features if feature.name in of_model]
        for view in pipeline.views
    }
    service = FeatureService(
        name=pipeline.feature_service,
        features=[view[inputs[view.name]] for view in views if inputs[view.name]],
        owner=pipeline.owner,
        description=f"All features of the pipeline {pipeline.name}.",
    )
    return list(entities.values()), views, service


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
