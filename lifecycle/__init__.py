"""Pure code of the model lifecycle: declarations, joins, statistics and decisions.

What belongs here: frozen dataclasses that declare a pipeline, and functions of arrays and frames.
What does not: Dagster, files, databases, network, the clock, or anything of one particular pipeline.
"""
