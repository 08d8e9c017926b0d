"""A Great Expectations suite that is prepared once and run on many small frames.

Great Expectations plans every run anew: which metrics each expectation needs, and which metrics those need. For a
day's thousand rows this takes ten times as long as computing them. The plan depends on the suite alone, so it is made
once. What belongs here: whether each expectation holds, as its own ``_validate`` says, the method in which Great
Expectations lets an expectation judge its metrics. Which rows break it is asked in the usual way, by
``expectations.py``, and only where one does not hold.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation
    from great_expectations.validator.validation_graph import ValidationGraph
    from great_expectations.validator.validator import ValidationDependencies

YES_OR_NO = {"result_format": "BOOLEAN_ONLY"}
BATCH = "rows"


class PreparedSuite:
    """The expectations of a suite, in their order, with the graph of metrics they need."""

    def __init__(self, suite: ExpectationSuite) -> None:
        from great_expectations.execution_engine import PandasExecutionEngine
        from great_expectations.validator.metrics_calculator import MetricsCalculator

        self.expectations: list[Expectation] = list(suite.expectations)
        self._engine = PandasExecutionEngine()
        self._calculator = MetricsCalculator(self._engine, show_progress_bars=False)
        self._needs: list[ValidationDependencies] = [
            rule.get_validation_dependencies(self._engine, dict(YES_OR_NO)) for rule in self.expectations
        ]
        self._graph = self._plan()
        self._lock = Lock()  # the engine holds one frame at a time

    def holds(self, frame: pd.DataFrame) -> list[bool]:
        """Whether each expectation holds for all rows of a frame; one that cannot be evaluated does not."""
        with self._lock:
            self._engine.load_batch_data(BATCH, frame)
            try:
                metrics, _ = self._calculator.resolve_validation_graph(self._graph, dict(YES_OR_NO))
                return [
                    self._holds(rule, needs, metrics)
                    for rule, needs in zip(self.expectations, self._needs, strict=True)
                ]
            finally:
                self._engine.load_batch_data(BATCH, frame.head(0))  # a year's rows need not stay in memory

    def _plan(self) -> ValidationGraph:
        needed = [metric for needs in self._needs for metric in needs.get_metric_configurations()]
        return self._calculator.build_metric_dependency_graph(needed, dict(YES_OR_NO))

    def _holds(self, rule: Expectation, needs: ValidationDependencies, metrics: dict[Any, Any]) -> bool:
        from great_expectations.exceptions import GreatExpectationsError

        wanted = {name: metric.id for name, metric in needs.metric_configurations.items()}
        if not metrics.keys() >= set(wanted.values()):  # one could not be computed; the usual run will say why
            return False
        given = {name: metrics[number] for name, number in wanted.items()}
        try:
            found = rule._validate(given, {"result_format": needs.result_format}, self._engine)
        except GreatExpectationsError:
            return False
        return bool(found["success"])
