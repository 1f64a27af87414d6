"""IPsec policies that select the cluster's packets."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known
from steppe.state.surroundings import Surroundings, XfrmPolicy

_WAYS = {"in": "comes in", "fwd": "is forwarded", "out": "is sent or forwarded"}


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    for policy in around.xfrm:
        sender, receiver = known.who(policy.source), known.who(policy.destination)
        if policy.action == "allow" or not (sender or receiver):
            continue
        own = any(address in policy.destination for address in known.here.addresses)
        if policy.direction == "in" and not own:
            continue  # only what ends on this node itself meets it
        yield Finding(
            "xfrm",
            f"xfrm policy {policy}",
            _effect(policy, sender or str(policy.source), receiver or str(policy.destination)),
            f"if it is not meant: `ip xfrm policy delete src {policy.source} "
            f"dst {policy.destination} dir {policy.direction}`",
            sure=policy.action == "block" and bool(sender and receiver),
            affects=(
                Affected(
                    (policy.source,),
                    (policy.destination,),
                    policy.protocol,
                    (policy.ports,) if policy.ports else (),
                ),
            ),
        )


def _effect(policy: XfrmPolicy, sender: str, receiver: str) -> str:
    what = f"what {_WAYS[policy.direction]} here from {sender} to {receiver}"
    if policy.action == "block":
        return f"drops {what}"
    if policy.direction == "out":
        return f"encrypts {what}, and drops it where no key is agreed on (`ip xfrm state`)"
    return f"drops {what}, unless it came encrypted"
