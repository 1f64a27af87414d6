"""All pairs at once: who reaches whom on which ports, by classes that no policy tells apart.

It judges by guards and frontends (`policy`, `service`), not by the oracle, which tests hold it
against. Must not import lint or verify, which stand on it.
"""
