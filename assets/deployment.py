"""The deployment: the gate's decision about the day's challenger, and what serves from then on."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import stage
from assets.training_set import GATE, training_table
from lifecycle import gate, scoring
from lifecycle.pipeline import Pipeline
from resources.lake import Lake
from resources.ledger import Ledger
from resources.registry import Registry, Version

if TYPE_CHECKING:
    import polars as pl

CAUSE_TAG, CAUSE_ID_TAG, DECIDED_BY_TAG = "perennial/cause", "perennial/cause_id", "perennial/decided_by"
CAUSE_KIND_TAG = "perennial/cause_kind"  # absent when a person asks
TAG_LENGTH = 250  # of a tag's value; what is longer is cut


def build(pipeline: Pipeline) -> dg.Definitions:
    asset = stage.key(pipeline, "deployment")

    @dg.multi_asset(
        name=f"{pipeline.name}__deployment",
        specs=[
            stage.spec(
                pipeline,
                "deployment",
                group="deployment",
                description="Champion and challenger are scored on the same most recent labelled days that neither "
                "has learnt from. The challenger takes over, with its features, threshold and reference, if its loss "
                "is lower beyond doubt and no guardrail is broken. The ledger says who or what decided, and why.",
                kinds={"mlflow"},
                deps=[stage.key(pipeline, "registered_version"), stage.key(pipeline, "training_set")],
            )
        ],
        check_specs=[
            stage.check(pipeline, asset, "gate", "The challenger passed the gate. When it did not, the champion stays.")
        ],
    )
    def deployment(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        registry: dg.ResourceParam[Registry],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        day = stage.last_day(context)
        challenger = _challenger(pipeline, day, registry)
        champion = registry.champion(pipeline.name)
        if champion is not None and champion.number == challenger.number:
            return _already_serves(asset, challenger)
        decision = _decide(pipeline, lake, registry, challenger, champion)
        _enact(pipeline, day, decision, challenger, champion, registry, ledger, context.run.tags)
        return dg.MaterializeResult(
            asset_key=asset,
            metadata=_metadata(decision, challenger, champion),
            check_results=[
                stage.passed(
                    asset,
                    "gate",
                    decision.promote,
                    " ".join(decision.reasons),
                    warn=True,
                    metadata={item.name: f"{item.value:.4g} (limit {item.limit:.4g})" for item in decision.criteria},
                )
            ],
        )

    return dg.Definitions(assets=[deployment])


def _challenger(pipeline: Pipeline, day: date, registry: Registry) -> Version:
    run_id = registry.latest_run(pipeline.name, day)
    version = registry.of_run(pipeline.name, run_id) if run_id else None
    if version is None:
        raise dg.Failure(f"no registered version as of {day}; materialize {pipeline.name}/registered_version first")
    return version


def _decide(
    pipeline: Pipeline, lake: Lake, registry: Registry, challenger: Version, champion: Version | None
) -> gate.Decision:
    rows = lake.read(training_table(pipeline), challenger.day, challenger.day)
    rows = unseen(rows.filter(rows["part"] == GATE), challenger, champion)
    losses = registry.document(challenger.run_id, "evaluation.json")["baseline_losses"]

    def scored(version: Version) -> gate.Scored:
        scores = scoring.score(registry.estimator(version), rows, version.features, pipeline)
        return gate.Scored(f"version {version.number}", scores)

    return gate.decide(
        scored(challenger),
        scored(champion) if champion else None,
        rows["label"].to_numpy(),
        rows["event_day"].to_numpy().astype("datetime64[D]"),
        rows.select(pipeline.slices),
        losses,
        pipeline.gate,
        pipeline.task,
    )


def unseen(rows: "pl.DataFrame", *versions: Version | None) -> "pl.DataFrame":
    """The days that none of some versions has learnt from; a gate window shortened by a newer one leaves fewer."""
    import polars as pl

    learnt = max(version.trained_through for version in versions if version is not None)
    return rows.filter(pl.col("event_day") > learnt)


def _enact(
    pipeline: Pipeline,
    day: date,
    decision: gate.Decision,
    challenger: Version,
    champion: Version | None,
    registry: Registry,
    ledger: Ledger,
    tags: Mapping[str, str],
) -> None:
    """Moves the alias when the gate says so; the ledger has both the judgement and the change.

    A version that was refused is no challenger any more: its features need not be kept.
    """
    replaces = champion.number if champion else None
    evidence = {
        **decision.to_dict(),
        "cause": tags.get(CAUSE_TAG, "materialized by hand"),
        "cause_id": tags.get(CAUSE_ID_TAG, ""),
    }
    decided_by = tags.get(DECIDED_BY_TAG, "a person")
    reason = " ".join(decision.reasons)
    ledger.record(pipeline.name, day, "gate", decided_by, reason, challenger.number, replaces, evidence)
    if decision.promote:
        registry.promote(challenger)
        # What the nights compare with from now on, and what the promotion answers: its alerts are closed.
        reference = registry.reference(challenger)
        moved = {
            "reference_first_day": reference.first_day,
            "reference_last_day": reference.last_day,
            "threshold": challenger.threshold,
            "feature_service": challenger.feature_service,
            "answers": evidence["cause_id"],
        }
        ledger.record(pipeline.name, day, "promotion", "gate", reason, challenger.number, replaces, moved)
    else:
        registry.withdraw(challenger)


def _already_serves(asset: dg.AssetKey, version: Version) -> dg.MaterializeResult:
    message = f"version {version.number} serves already; nothing was decided"
    return dg.MaterializeResult(
        asset_key=asset,
        metadata={"serves": version.number, "decision": message},
        check_results=[stage.passed(asset, "gate", True, message)],
    )


def _metadata(decision: gate.Decision, challenger: Version, champion: Version | None) -> dict[str, Any]:
    import polars as pl

    from lifecycle import plots

    before = champion.number if champion else None
    criteria = pl.DataFrame(
        [
            (item.name, item.value, item.limit, "yes" if item.passed else "no", item.detail)
            for item in decision.criteria
        ],
        schema=["criterion", "value", "limit", "passed", "detail"],
        orient="row",
        strict=False,
    )
    metadata: dict[str, Any] = {
        "decision": " ".join(item.detail for item in decision.criteria if not item.passed) or decision.reasons[0],
        "serves": challenger.number if decision.promote else (before or "nothing"),
        "challenger": challenger.number,
        "champion_before": before or "none",
        "promoted": decision.promote,
        "criteria": stage.markdown_table(criteria, 40),
    }
    if decision.interval is not None and decision.improvement is not None:
        title = (
            f"Loss {'falls' if decision.improvement > 0 else 'grows'} by {abs(decision.improvement):.4f} on unseen days"
        )
        png = plots.improvement(decision.draws, decision.interval, title, "mean loss, champion − challenger")
        metadata["improvement"] = dg.MetadataValue.md(stage.image(png, title))
    return metadata
