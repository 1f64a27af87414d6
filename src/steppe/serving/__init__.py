"""What every server of ours has in common: how much strangers may cost.

limits      how many connections, for how long, how much each may send
listener    accepts within those limits, and leaves whoever does not keep them
http        an HTTP application behind a listener
sockets     where a TCP server listens, and how many files the process may open
"""
