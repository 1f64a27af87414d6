"""What stopped the packets of a verification that went wrong, and which packets share a cause."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from steppe.agent.ask import AskError, ask
from steppe.dataplane.nft.skeleton import SKELETON
from steppe.errors import SteppeError
from steppe.findings.finding import Finding, finding_from
from steppe.kube.cluster import Cluster
from steppe.state.document import KeyState, key_state_from
from steppe.verify.beside import Went, beside, with_whole_table
from steppe.verify.judge import Seen
from steppe.verify.stops import Differing, Group, Stop, Tables, grouped
from steppe_lab.probe.traced import Dropped
from steppe_lab.verify import ObservedEnds, Wrong, traced

TRACED = 200
"""The most packets that are sent again to be traced; others have the cause of one like them."""
_NODE = "node/"
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
    """Each wrong packet's cause: entries of the tables; else the rule at which traces end; else
    what others have put beside the tables.

    `sockets` are the agents', `say` is called with what is being done.
    """
    answers = _answers(cluster, sockets)
    tables, notes = Tables(cluster, answers.held), answers.notes
    found: list[Why] = []
    for number, each in enumerate(wrong):
        say(f"{number} of {len(wrong)} mismatches looked up in the tables")
        found.append(with_whole_table(tables.stops(each.check), answers.findings))
    unknown = [n for n, why in enumerate(found) if not why]
    lost = [n for n in unknown if _is_lost(wrong[n].seen)]
    traces: dict[int, Dropped | None] = {}
    try:
        ended = _traced(cluster, ends, [wrong[n] for n in lost], rate, say)
        traces = dict(zip(lost, ended, strict=True))
    except (SteppeError, OSError) as error:
        notes.append(f"packets could not be traced through the kernels' rules: {error}")
    for number in unknown:
        found[number] = _why(tables, answers.findings, wrong[number], traces.get(number))
    return Causes(grouped(zip(wrong, found, strict=True)), tuple(notes))


def _why(
    tables: Tables,
    findings: Mapping[str, Sequence[Finding]],
    each: Wrong,
    ended: Dropped | None,
) -> tuple[Stop, ...]:
    """The rule of another program at which it ended; else what others have on its way.

    A rule of Steppe's own drops a packet that is not as it should be, for another node may have
    changed it, or one that has no way back.
    """
    own = ended is not None and bool(ended.rule) and ended.chain[1] == SKELETON.table
    if ended is not None and ended.rule and not own:
        return (_at(ended),)
    nodes, packets = tables.way(each.check)
    if ended is not None and ended.netns.startswith(_NODE) and not own:
        nodes = frozenset((ended.netns.removeprefix(_NODE),))
    went = Went(nodes, packets, lost=_is_lost(each.seen), large=bool(each.check.size))
    stop = beside(findings, went)
    if stop is None and ended is not None:
        stop = _at(ended)
    return (stop,) if stop is not None else ()


def _at(ended: Dropped) -> Stop:
    return Stop(ended.netns.removeprefix(_NODE), ended.text)


class _Answers(msgspec.Struct, frozen=True):
    """By node, what its agent answers: its tables, what the kernel has of them, and what is beside
    them; and sentences about what could not be asked.
    """

    held: dict[str, list[KeyState]]
    findings: dict[str, tuple[Finding, ...]]
    notes: list[str]


def _answers(cluster: Cluster, sockets: Sequence[Path]) -> _Answers:
    addresses = {a for pod in cluster.pods.values() for a in pod.addresses}
    addresses |= {a for node in cluster.nodes.values() for a in node.addresses}
    addresses |= {a for service in cluster.services.values() for a in service.addresses}
    body = {"addresses": sorted(map(str, addresses))}
    found = _Answers({}, {}, [])
    for path in sockets:
        try:
            answer = _answered(ask(path, "tables", method="POST", body=body))
            node = answer["node"]
            found.held[node] = [key_state_from(each) for each in answer["entries"]]
            found.findings[node] = tuple(map(finding_from, answer["findings"]))
        except (SteppeError, ValueError, KeyError, TypeError) as error:
            found.notes.append(f"the tables of {path.parent.name} were not looked at: {error}")
    return found


def _answered(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in answer:
        raise AskError(str(answer["error"]))
    return answer


def _is_lost(seen: Seen) -> bool:
    """Whether the packet or its answer vanished; no rule drops what arrives at a wrong end."""
    return not (seen.answered or seen.refused)


def _traced(
    cluster: Cluster, ends: ObservedEnds, wrong: Sequence[Wrong], rate: float, say: Say
) -> list[Dropped | None]:
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
    found: list[Dropped | None] = [None] * len(wrong)
    for numbers in alike.values():
        first = next((n for n in numbers if ended.get(n)), None)
        of_another = ended[first] if first is not None else None
        for number in numbers:
            found[number] = ended.get(number, of_another)
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
