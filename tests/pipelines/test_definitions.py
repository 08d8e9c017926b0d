"""What exists: one contract over every pipeline, and the heavy libraries that must not be loaded."""

import subprocess
import sys

import dagster as dg
import pytest

from lifecycle.pipeline import Pipeline
from pipelines.build import build_definitions
from pipelines.flight_delays import PIPELINE
from resources.settings import Settings
from tests.tiny import TINY

STAGES = {"raw", "validated", "features", "training", "deployment", "predictions", "monitoring"}
HEAVY = (
    "sqlalchemy",
    "mlflow",
    "feast",
    "evidently",
    "great_expectations",
    "sklearn",
    "optuna",
    "pandas",
    "polars",
    "matplotlib",
)


@pytest.fixture(params=[PIPELINE, TINY], ids=lambda pipeline: pipeline.name)
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    return request.param


@pytest.fixture
def definitions(pipeline: Pipeline, tmp_path) -> dg.Definitions:
    return build_definitions([pipeline], Settings(home=tmp_path))


def test_every_asset_says_what_it_is(pipeline: Pipeline, definitions: dg.Definitions) -> None:
    specs = list(definitions.resolve_all_asset_specs())

    assert {spec.group_name for spec in specs} == STAGES
    for spec in specs:
        assert spec.key.path[0] == pipeline.name
        assert len(spec.description or "") > 40, spec.key
        assert spec.owners == [pipeline.owner], spec.key
        assert spec.kinds, spec.key
        assert isinstance(spec.partitions_def, dg.DailyPartitionsDefinition), spec.key


def test_tables_have_a_schema_with_descriptions(definitions: dg.Definitions) -> None:
    tables = [spec for spec in definitions.resolve_all_asset_specs() if spec.group_name in ("raw", "validated")]
    tables += [spec for spec in definitions.resolve_all_asset_specs() if spec.key.path[1] == "features"]

    for spec in tables:
        schema = spec.metadata["dagster/column_schema"]
        assert all(column.description for column in schema.columns), spec.key


def test_a_range_of_days_is_one_run_in_every_stage_but_training(definitions: dg.Definitions) -> None:
    on_demand = {"training_set", "probe", "trained_model", "registered_version", "deployment"}
    for assets in definitions.resolve_asset_graph().assets_defs:
        # A check that is a step of its own makes nothing and has no policy.
        if assets.keys and not {key.path[-1] for key in assets.keys} & on_demand:
            assert assets.backfill_policy == dg.BackfillPolicy.single_run(), assets.keys


def test_the_lineage_goes_the_way_of_the_design(pipeline: Pipeline, definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def upstream(*path: str) -> set[str]:
        node = graph.get(dg.AssetKey([pipeline.name, *path]))
        return {key.path[1] for key in node.parent_keys}

    assert upstream("validated", pipeline.spine.table) == {"raw"}
    assert upstream("features", pipeline.views[0].name) == {"validated"}
    assert upstream("online_features") == {"features"}
    assert upstream("feature_catalogue") == {"features", "batch_predictions"}
    assert upstream("training_set") == {"validated", "features"}
    assert upstream("probe") == {"training_set"}
    assert upstream("trained_model") == {"training_set", "probe"}
    assert upstream("registered_version") == {"trained_model"}
    assert upstream("deployment") == {"registered_version", "training_set"}
    assert upstream("batch_predictions") == {"validated", "features", "deployment"}
    assert upstream("drift_report") == {"batch_predictions", "validated"}
    assert upstream("hindcasts") == {"validated", "features", "batch_predictions"}
    assert upstream("performance_report") == {"batch_predictions", "hindcasts", "validated"}
    assert upstream("diagnosis") == {"drift_report", "performance_report"}


def test_the_night_leaves_training_to_the_retraining(pipeline: Pipeline, definitions: dg.Definitions) -> None:
    def assets(job: str) -> set[str]:
        layer = definitions.resolve_job_def(f"{pipeline.name}__{job}").asset_layer
        return {key.path[1] for key in layer.executable_asset_keys}

    retrain = {"training_set", "probe", "trained_model", "registered_version", "deployment"}
    assert assets("retrain") == retrain
    assert assets("history") == {"raw", "validated", "features"}
    assert not assets("nightly") & retrain
    assert {"batch_predictions", "drift_report", "performance_report", "online_features"} <= assets("nightly")
    assert "feature_catalogue" in assets("nightly")


def test_what_lands_by_itself_is_off_and_what_reacts_is_on(pipeline: Pipeline, definitions: dg.Definitions) -> None:
    def schedule(name: str) -> dg.DefaultScheduleStatus:
        return definitions.resolve_schedule_def(f"{pipeline.name}__{name}").default_status

    assert schedule("land_a_day_a_minute") == dg.DefaultScheduleStatus.STOPPED
    assert schedule("retrain_monthly") == dg.DefaultScheduleStatus.STOPPED
    assert schedule("run_nightly") == dg.DefaultScheduleStatus.RUNNING
    for name in ("run_nightly_on_new_files", "retrain_on_failed_checks", "train_first_model"):
        sensor = definitions.resolve_sensor_def(f"{pipeline.name}__{name}")
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_two_pipelines_live_in_one_code_location(tmp_path) -> None:
    both = build_definitions([PIPELINE, TINY], Settings(home=tmp_path))

    dg.Definitions.validate_loadable(both)
    assert {spec.key.path[0] for spec in both.resolve_all_asset_specs()} == {PIPELINE.name, TINY.name}


def test_the_code_location_loads_no_heavy_library() -> None:
    code = f"import sys, pipelines.definitions; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
