"""What people write for the ends of a flow, and whom they mean by it.

`parse.py` reads the text without a cluster; `target.py` finds the one end of a flow. All that an
end means is for reach to find. Imports neither explain nor reach, whose words these are.
"""
