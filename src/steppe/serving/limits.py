"""How much the clients of one server may cost it."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """One server's limits; times are seconds.

    `connections`: at one time, over all sockets of the server. When one more comes, the client that
    has been silent for longest is left; only where all are being answered it is refused.

    `head`: from a connection, or the first byte of a later request, to the end of the header (for
    a protocol without headers: of the request), however steadily it comes.

    `idle`: between two requests of one connection, and until the last answer is taken.

    `stall`: how long an answer may wait for a client that does not read it.

    `body`: bytes of a request behind its header.
    """

    connections: int = 64
    head: float = 5.0
    idle: float = 10.0
    stall: float = 30.0
    body: int = 64 * 1024
