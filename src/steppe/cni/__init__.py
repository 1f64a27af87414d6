"""The CNI plugin that container runtimes execute: it checks a request and sends it to the agent.

It may import only a few modules of the standard library, and nothing of Steppe: it is started for
every request, and installed as one file.
"""
