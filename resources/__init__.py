"""What the assets talk to: the lake, the feature store, the registry, the ledger, alerts and settings.

What belongs here: plain clients that serving and tests can use without Dagster, and ``dagster.py``, which hands
them out as Dagster resources. What does not: decisions (``lifecycle/``) and stages (``assets/``).
"""
