"""Why a session is not there: from what BIRD says of it, and what the node has.

BIRD tells of a wrong password nothing at all: the kernel drops such packets before it sees them.
The kernel counts them, so that it can be said here.
"""

from collections.abc import Mapping

from steppe.bgp.render import protocol_of
from steppe.bgp.seen import Md5Faults, SeenSession
from steppe.bgp.tables import Session, SessionKey
from steppe.kube.objects import Node

_ERRORS = (
    ("Received: Bad peer", "{who} expects another AS number of this node than {own}: correct one"),
    ("Bad peer AS", "{who} has another AS number than {asn}: correct spec.asn, or the router"),
    ("BFD session down", "BFD says that {who} is gone: is BFD on there, and the way to it whole?"),
    ("Hold timer expired", "nothing was heard of {who} for the hold time: look at the way to it"),
    ("Connection refused", "{who} refuses TCP port 179: start BGP there, with this node's address"),
    ("Connection reset", "{who} ends the connection: make this node's address a neighbor there"),
    ("No route to host", "nobody answers at {where}: is {who} up, and on this link?"),
    ("unreachable", "no route to {where}: look at `ip route get {where}`"),
    ("Neighbor lost", "the link to {who} is down"),
    ("Bad BGP identifier", "{who} has this node's router id: have two nodes one address?"),
    ("Unacceptable hold time", "{who} refuses a hold time of 90 s: allow it there"),
    ("Connection rejected", "{who} does not want this node: make it a neighbor there"),
    ("Administrative", "{who} has shut the session down"),
)
"""What BIRD says, and what it means; the first that fits."""


def why_missing(
    key: SessionKey, session: Session, seen: SeenSession | None, here: Node, md5: Md5Faults
) -> str:
    """Why this session is not established, and the cure; "" if it is, or BIRD only waits for it.

    `md5`: what was dropped lately.
    """
    if seen is None:
        return "BIRD does not have this session yet"
    if seen.is_established:
        return ""
    who = str(session.about)
    where = str(key)
    facts = {
        "who": who,
        "where": where,
        "asn": f"AS{session.asn}",
        "own": f"AS{session.own_asn}",
    }
    found = _by_signature(session, md5, seen) or _by_error(seen.error, facts)
    if not found and seen.state == "Passive":
        found = f"no router with AS{session.asn} has begun a session on {where} yet"
    if not found and key.address is not None and session.hops == 1:
        known = here.underlay.addresses
        if known and not here.underlay.on_link(key.address):
            found = f"{where} is not on {here.name}'s subnet: give spec.hops, or another address"
    if not found:
        found = f"{who} does not answer at {where}; is BGP on there, and nothing between them?"
    # Not its state, which goes to and fro while BIRD tries: a Problem must not change with it.
    said = f"; BIRD says: {seen.error}" if seen.error else ""
    return f"no session from {here.name}: {found}{said}"


def _by_signature(session: Session, md5: Md5Faults, seen: SeenSession) -> str:
    """What dropped packets say; counted for all sessions of the node together."""
    if seen.state in ("OpenSent", "OpenConfirm"):
        return ""  # packets come through
    if session.password_key:
        if md5.wrong:
            return (
                f"the passwords differ: compare the key {session.password_key!r} of the Secret "
                "steppe-bgp-passwords with the other side"
            )
        if md5.missing:
            return "the other side sends without a password, and this one has one"
        return ""
    if md5.unexpected:
        return "the other side has a password, and this one has none: give it a passwordKey"
    return ""


def _by_error(error: str, facts: Mapping[str, str]) -> str:
    for part, text in _ERRORS:
        if part in error:
            return text.format(**facts)
    return ""


def faults(
    sessions: Mapping[SessionKey, Session],
    seen: Mapping[str, SeenSession],
    here: Node,
    md5: Md5Faults,
) -> dict[SessionKey, str]:
    """Of each session that is missing, why."""
    found = {
        key: why_missing(key, session, best(session, seen), here, md5)
        for key, session in sessions.items()
    }
    return {key: why for key, why in found.items() if why}


def best(session: Session, seen: Mapping[str, SeenSession]) -> SeenSession | None:
    """What BIRD has of the session; of those that came up on a link, one that is established."""
    name = protocol_of(session)
    on_link = [each for each in seen.values() if each.name.startswith(f"{name}#")]
    return next((each for each in on_link if each.is_established), seen.get(name))
