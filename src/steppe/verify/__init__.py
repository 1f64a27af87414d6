"""Decides which packets to send to check a real network, which results are mismatches, and why.

It sends nothing itself. Predictions come from the oracle: plan, sizes and judge must not import
tables, walk or compile. Only stops.py does, which is asked after a packet went wrong.
"""
