"""Steppe's own table, where others have changed it: what is not done without a chain's rules, and
what a rule does that somebody has put there.

A chain that has lost a guard changes nothing for honest packets, so it makes no answer doubtful;
one that has lost policies lets through what they stop; one that has lost Services or the
translation of senders stops what uses them.
"""

from collections.abc import Iterator

from steppe.dataplane.nft.purposes import Purpose, purpose
from steppe.findings.finding import OWN_TABLE, Affected, Finding
from steppe.findings.known import Known
from steppe.findings.packet_rules import affected, flows, told
from steppe.net.address import IPNetwork
from steppe.state.surroundings import Altered, PacketRule, Surroundings

CURE = "`steppe audit --repair` puts it back, and so does an agent that repairs; find who did it"
_NOTHING = (
    "no Service is translated, no policy is asked, no sender's address is checked, and pods leave "
    "the cluster under their own addresses"
)
TABLE = "table inet steppe"
GONE = f"{TABLE}: not there"


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    for each in around.altered:
        if each.how in ("gone", "asleep"):
            yield _without_table(each)
        elif each.how == "missing":
            yield from _missing(each, known)
        else:
            for rule in each.rules:
                yield _added(rule, known)


def _without_table(each: Altered) -> Finding:
    entry = GONE if each.how == "gone" else f"{TABLE} {{ flags dormant; }}"
    effect = f"no packet meets Steppe's rules: {_NOTHING}"
    return Finding(OWN_TABLE, entry, effect, CURE, sure=True, opens=True, affects=(Affected(),))


def _missing(each: Altered, known: Known) -> Iterator[Finding]:
    found = purpose(each.chain)
    if found is None:
        return
    if each.whole:
        entry = f"inet steppe {each.chain}: none of its rules is there"
        effect = found.without.format(known.here.name)
    else:
        more = f" and {each.missing - 1} more of its rules" if each.missing > 1 else ""
        entry = f"inet steppe {each.chain}: not there: {each.text or 'a rule'}{more}"
        effect = _in_part(found, known.here.name)
    yield Finding(
        OWN_TABLE,
        entry,
        effect,
        CURE,
        sure=each.whole and found.kind in ("service", "leaving"),
        # Without some of the rules of a chain of policies it may stop what it shall let through.
        walked=found.kind == "guard" or (found.kind == "policy" and each.whole),
        opens=found.kind == "policy",
        affects=_whose(found, known),
    )


def _in_part(found: Purpose, here: str) -> str:
    """What a chain may do of which only some rules are there."""
    if found.kind == "policy":
        return (
            f"policies of {here}'s pods may let through what they forbid, and stop what they allow"
        )
    return f"it may be that {found.without.format(here)}"


def _whose(found: Purpose, known: Known) -> tuple[Affected, ...]:
    if found.kind in ("service", "leaving"):
        return (Affected(answers=False, beside=_pods(known)),)
    return (Affected(),)


def _pods(known: Known) -> tuple[IPNetwork, ...]:
    return tuple(n for node in (known.here, *known.peers) for n in node.networks)


def _added(rule: PacketRule, known: Known) -> Finding:
    found = told(rule, known)
    past = rule.does == "accept"
    chain = purpose(rule.chain.rpartition(" ")[2])
    if past:
        what = chain.without.format(known.here.name) if chain is not None else "it may go anywhere"
        found = f"takes {flows(rule, known)} past the rest of this chain: {what}"
    guards = chain is not None and chain.kind in ("guard", "policy")
    return Finding(
        OWN_TABLE,
        f"{rule.chain} (hook {rule.hook}): {rule.text}",
        found,
        CURE,
        sure=not rule.matching.partial and not (past and guards),
        walked=past and guards,
        opens=past and (chain is None or chain.kind == "policy"),
        affects=(affected(rule, known),),
    )
