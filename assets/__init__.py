"""The lifecycle as Dagster assets and checks, one module a stage, written once for every pipeline.

What belongs here: reading, calling pure code, writing, reporting. What does not: the thought itself (``lifecycle/``),
or anything of one pipeline (``pipelines/``).
"""
