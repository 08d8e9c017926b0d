"""How well a champion does: by the labels that have come, and estimated for those that have not.

What belongs here: realised performance, what was promised, the stream of errors, and estimates with their grades.
What does not: measuring a model before it serves (``lifecycle/evaluation.py``), and choosing between two.
"""
