"""How values are written in BIRD's configuration. Nothing else writes a text of others there.

BIRD's strings end at the next quote and know no escape, so what may stand in one is listed here,
and everything else is written as something harmless.
"""

import hashlib
import re
from collections.abc import Iterable

from steppe.bgp.objects import Community, Rule
from steppe.net.address import IPNetwork

# "['] {ALPHA}|{DIGIT}|[_.:-] [']" (conf/cf-lex.l of BIRD 2); the longest is 64 characters.
_SYMBOL = re.compile(r"[A-Za-z0-9_.:-]{1,48}")
_ODD = re.compile(r"[^A-Za-z0-9 ./:_\[\]-]")
_PASSWORD = re.compile(r"[ !#-~]{1,80}")


def symbol(*parts: str) -> str:
    """A name for BIRD of these parts, in quotes; one that cannot stand there becomes a hash."""
    name = ":".join(parts)
    if not _SYMBOL.fullmatch(name):
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:20]
        name = f"hash:{digest}"
    return f"'{name}'"


def bare(quoted: str) -> str:
    """The name as BIRD shows it."""
    return quoted.strip("'")


def words(text: str) -> str:
    """Text of an object for a comment or a description: unusual characters become `?`."""
    return _ODD.sub("?", text)[:200]


def is_password(text: str) -> bool:
    """Whether BIRD and the kernel can take this password (TCP_MD5SIG_MAXKEYLEN is 80)."""
    return bool(_PASSWORD.fullmatch(text))


def prefix_set(rules: Iterable[Rule]) -> str:
    return ", ".join(f"{rule.prefix}{{{rule.lowest},{rule.highest}}}" for rule in rules)


def inside(network: IPNetwork) -> str:
    """The prefix and everything in it."""
    return f"{network}+"


def add_community(community: Community) -> str:
    parts = ", ".join(map(str, community.parts))
    which = "bgp_community" if len(community.parts) == 2 else "bgp_large_community"
    return f"{which}.add(({parts}));"
