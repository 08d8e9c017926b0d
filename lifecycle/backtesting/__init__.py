"""A past period lived through again in memory: policies against each other, false alarms, and faults.

What belongs here: worlds to live in, the nights of a policy, and what came of them. What does not: files and processes
(``pipelines/backtest_jobs.py``), and the page (``pipelines/backtest_page.py``).
"""
