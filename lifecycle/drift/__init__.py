"""Data monitoring: which columns of a window are unlike the champion's reference, and what that does to its loss.

What belongs here: everything that a night asks of inputs and forecasts before labels tell, from ``monitoring.py`` down.
What does not: what labels say (``performance``), and what is done about it.
"""
