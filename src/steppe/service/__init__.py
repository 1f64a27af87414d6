"""What Services mean: the backends of each frontend (table.py), and which Service owns a frontend.

It does not decide how a node translates packets: it must import no table vocabulary (`state`) and
no data plane.
"""
