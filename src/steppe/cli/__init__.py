"""The command line: parses arguments, asks the packages below, and prints the answers.

It decides nothing about networks. Modules of commands must not import the lab: its commands are
found by entry points (plugins.py).
"""
