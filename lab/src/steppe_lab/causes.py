"""What stopped the packets of a verification that went wrong, and which packets share a cause."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from steppe.agent.ask import AskError, ask
from steppe.errors import SteppeError
from steppe.kube.cluster import Cluster
from steppe.state.document import KeyState, key_state_from
from steppe.verify.judge import Seen
from steppe.verify.stops import Differing, Group, Stop, Tables, grouped
from steppe_lab.verify import ObservedEnds, Wrong, traced

TRACED = 200
"""The most packets that are sent again to be traced; others have the cause of one like them."""
Say = Callable[[str], None]
Why = tuple[Stop | Differing, ...]


class Causes(msgspec.Struct, frozen=True):
    """The wrong packets by cause, and sentences about what could not be looked at."""

    groups: tuple[Group[Wrong], ...]
    notes: tuple[str, ...] = ()


def causes_of(
    cluster: Cluster,
    ends: ObservedEnds,
    wrong: Sequence[Wrong],
    sockets: Sequence[Path],
    *,
    rate: float,
    say: Say,
) -> Causes:
    """Each wrong packet's cause: entries of the tables; else the rule at which traces end.

    `sockets` are the agents', `say` is called with what is being done.
    """
    held, notes = _held(cluster, sockets)
    tables = Tables(cluster, held)
    found: list[Why] = []
    for number, each in enumerate(wrong):
        say(f"{number} of {len(wrong)} mismatches looked up in the tables")
        found.append(tables.stops(each.check))
    open_ = [n for n, why in enumerate(found) if not why and _is_lost(wrong[n].seen)]
    try:
        traces = _traced(cluster, ends, [wrong[n] for n in open_], rate, say)
        for number, why in zip(open_, traces, strict=True):
            found[number] = why
    except (SteppeError, OSError) as error:
        notes.append(f"packets could not be traced through the kernels' rules: {error}")
    return Causes(grouped(zip(wrong, found, strict=True)), tuple(notes))


def _held(cluster: Cluster, sockets: Sequence[Path]) -> tuple[dict[str, list[KeyState]], list[str]]:
    """By node, what its agent answers of its tables and what the kernel has of them."""
    addresses = {a for pod in cluster.pods.values() for a in pod.addresses}
    addresses |= {a for node in cluster.nodes.values() for a in node.addresses}
    addresses |= {a for service in cluster.services.values() for a in service.addresses}
    body = {"addresses": sorted(map(str, addresses))}
    held: dict[str, list[KeyState]] = {}
    notes = []
    for path in sockets:
        try:
            answer = _answered(ask(path, "tables", method="POST", body=body))
            held[answer["node"]] = [key_state_from(each) for each in answer["entries"]]
        except (SteppeError, ValueError, KeyError, TypeError) as error:
            notes.append(f"the tables of {path.parent.name} were not looked at: {error}")
    return held, notes


def _answered(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in answer:
        raise AskError(str(answer["error"]))
    return answer


def _is_lost(seen: Seen) -> bool:
    """Whether the packet or its answer vanished; no rule drops what arrives at a wrong end."""
    return not (seen.answered or seen.refused)


def _traced(
    cluster: Cluster, ends: ObservedEnds, wrong: Sequence[Wrong], rate: float, say: Say
) -> list[tuple[Stop, ...]]:
    """Where each ended; of many alike some are sent, and one stands for those that are not."""
    pods = {f"{ns}/{name}": pod.node for (ns, name), pod in cluster.pods.items()}
    alike: dict[object, list[int]] = {}
    for number, each in enumerate(wrong):
        alike.setdefault(_kind(pods, each), []).append(number)
    sent = _in_turn(list(alike.values()), TRACED)
    if not sent:
        return []
    say(f"{len(sent)} mismatches sent again, and traced through the kernels' rules")
    ended = dict(zip(sent, traced(ends, [wrong[n] for n in sent], rate), strict=True))
    found: list[tuple[Stop, ...]] = [()] * len(wrong)
    for numbers in alike.values():
        first = next((n for n in numbers if ended.get(n)), None)
        of_another = ended[first] if first is not None else None
        for number in numbers:
            last = ended.get(number, of_another)
            if last:
                found[number] = (Stop(last.netns.removeprefix("node/"), last.text),)
    return found


def _kind(pods: Mapping[str, str], each: Wrong) -> tuple[object, ...]:
    """What packets have in common that most likely end at the same place."""
    check, packet = each.check, each.check.packet
    ends = pods.get(check.source, check.source), pods.get(check.target, check.target)
    return (*ends, packet.source.version, packet.protocol, packet.destination_port, check.size)


def _in_turn(groups: Sequence[Sequence[int]], most: int) -> list[int]:
    """One of each group, then another of each, until these are the most."""
    longest = max(map(len, groups), default=0)
    turns = (group[turn] for turn in range(longest) for group in groups if turn < len(group))
    return [number for number, _ in zip(turns, range(most), strict=False)]
