"""What policies mean: identities of peers, guards of pods, and rulings (which ports are open to
whom).

It does not decide how a node enforces it: it must import no table vocabulary (`state`) and no data
plane.
"""
