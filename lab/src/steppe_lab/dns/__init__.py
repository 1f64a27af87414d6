"""Cluster DNS for a lab: Kubernetes' DNS-based service discovery, schema version 1.1.0.

    informers ──▶ Records ─┐
                           ├─▶ zone.answer ──▶ message.reply ──▶ UDP or TCP (server)
    message.read ──────────┘                        ▲
                                 upstream, if there is any

On a real cluster CoreDNS does this. Why it is not used here, and where the two differ:
docs/decisions/0008-lab-dns.md.
"""
