"""Pure code of the model lifecycle: declarations, joins, statistics and decisions.

What belongs here: frozen dataclasses that declare a pipeline, and functions of arrays and frames.
What does not: Dagster, files, databases, network, the clock, or anything of one particular pipeline.

``drift`` is what a night finds in the inputs, ``performance`` what labels say of the forecasts, or are expected to,
``backtesting`` both and the policy over a past period. What declares, trains, proves and decides is beside them.
"""
