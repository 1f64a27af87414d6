"""From desired and actual tables to ordered changes.

Decides which changes make the actual tables the desired ones, and in which order; also which
tracked flows a change of backends leaves stale. It knows keys only by their table and level, and
must not import what makes claims (`compile`, `fabric`, `dataplane`) or drivers.
"""
