"""BGP on this node: what BIRD shall do, kept in force, and what came of it.

`view` puts together what the API says, `speaker` runs BIRD. It reads the compiler and changes
nothing in it: whatever happens to BGP, Steppe's own tables go on.
"""
