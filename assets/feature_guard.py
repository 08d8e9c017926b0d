"""The guard of features: nothing is built or forecast while a live model's features are not what it learnt from.

What belongs here: the refusal and what it says. What a feature is, and whether it changed, is in
``lifecycle/definitions.py``.
"""

from collections.abc import Mapping

import dagster as dg

from lifecycle.definitions import Change, Definition, changes, definitions, differing
from lifecycle.pipeline import Pipeline
from resources.registry import CHALLENGER, CHAMPION, Registry, Version

MOST_NAMED = 5  # features that the message explains; the metadata has them all


def require_live_features(
    pipeline: Pipeline, registry: Registry, aliases: tuple[str, ...] = (CHAMPION, CHALLENGER)
) -> None:
    """Refuses to go on where a feature of the version that serves, or wants to, was changed or removed.

    Raises
    ------
    dagster.Failure
        Naming the model, its version, the features, both definitions of each, and what to do.
    """
    live = registry.live(pipeline.name)
    require_features(pipeline, registry, {alias: live[alias] for alias in aliases if alias in live})


def require_features(pipeline: Pipeline, registry: Registry, versions: Mapping[str, Version]) -> None:
    """The same for any versions; ``versions`` says what each is."""
    if not versions:
        return
    declared = definitions(pipeline)
    for role, version in versions.items():
        found = _changes(registry, version, declared)
        if found:
            raise _failure(pipeline, registry, role, version, found, declared)


def as_declared(pipeline: Pipeline, registry: Registry, version: Version) -> bool:
    """Whether the features a version takes are still declared as they were when it was trained."""
    return not _changes(registry, version, definitions(pipeline))


def _changes(registry: Registry, version: Version, declared: Mapping[str, Definition]) -> tuple[Change, ...]:
    """What is told in full is only read where the fingerprints differ."""
    if not differing(version.features, version.fingerprints, declared):
        return ()
    return changes(version.features, registry.definitions(version), declared)


def _failure(
    pipeline: Pipeline,
    registry: Registry,
    role: str,
    version: Version,
    found: tuple[Change, ...],
    declared: Mapping[str, Definition],
) -> dg.Failure:
    others = len(found) - MOST_NAMED
    named = [f"- {change}." for change in found[:MOST_NAMED]] + ([f"- and {others} more."] if others > 0 else [])
    return dg.Failure(
        description="\n".join(
            [
                f"Model {version.name!r}, version {version.number} ({role}), takes features that are not declared as "
                "they were when it was trained; nothing was written.",
                *named,
                _advice(pipeline, registry, role, declared),
            ]
        ),
        metadata={
            "model": version.name,
            "version": version.number,
            "features": ", ".join(change.feature for change in found),
            "changes": dg.MetadataValue.md("\n".join(f"- {change}" for change in found)),
        },
        # The same declaration would be refused again.
        allow_retries=False,
    )


def _advice(pipeline: Pipeline, registry: Registry, role: str, declared: Mapping[str, Definition]) -> str:
    advice = (
        "Declare each as it was, and what is new under another name; list the old name in Pipeline.retired, so that "
        "new models do without it, and retrain. Once a version without it serves, remove it."
    )
    if role == CHALLENGER:
        return f"{advice} Or take the alias {CHALLENGER!r} away from the version in MLflow: it does not serve."
    fitting = [
        version.number for version in registry.versions(pipeline.name) if not _changes(registry, version, declared)
    ]
    if fitting:
        numbers = ", ".join(map(str, fitting[:MOST_NAMED]))
        command = f"python -m pipelines.rollback {pipeline.name} --to {fitting[0]} --why …"
        return f"{advice} Versions that take the features as declared now: {numbers}. To let one serve again: {command}"
    return f"{advice} No registered version takes the features as they are declared now: there is none to roll back to."
