"""Explains one flow: its paths step by step with the objects behind them, and what would open it.

It decides which packets represent a flow and how results are worded. What Kubernetes promises comes
from `oracle`, what tables do from `walk`. It must not import reach, lint or verify, which use it.
"""
