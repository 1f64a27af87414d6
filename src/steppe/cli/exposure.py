"""`steppe reach --exposure`: what pods that are not there yet would reach, and who is unguarded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from steppe.cli.reach_table import because_text, print_columns
from steppe.kube.cause import Cause
from steppe.kube.policies import Direction
from steppe.manifests.cluster import Loaded
from steppe.net.ports import PortSet
from steppe.reach.document import doubts_json, groups_json, ports_json
from steppe.reach.exposure import Exposed, Exposure, exposure_of
from steppe.reach.flows import ports_text
from steppe.reach.matrix import Mask, bits
from steppe.reach.names import Names, member_name, workloads_of

SCHEMA = "steppe.exposure/v1"
_VERBS: Mapping[Direction, str] = {"egress": "reaches", "ingress": "is reached by"}
_BLIND = (
    "A new pod has the labels that are named and no others, an address that is not known,\n"
    "and the named ports of a pod there that the same selector takes, if there is one."
)


class Row(msgspec.Struct, frozen=True):
    """Flows of new pods with the same ports for the same reasons; `shut` if none gets through."""

    verb: str
    others: Mask
    ports: str
    because: tuple[Cause, ...]
    shut: bool


class Told(msgspec.Struct, frozen=True):
    """The exposure of a cluster, and the names of its groups."""

    exposure: Exposure
    names: Names
    workloads: Mapping[tuple[str, str], str]


def told(loaded: Loaded, wanted: PortSet, focus: Collection[str] = ()) -> Told:
    """The exposure, of some members by name; of all if there are none."""
    exposure = exposure_of(loaded.cluster, wanted, loaded.settings, focus)
    workloads = workloads_of(loaded.objects)
    return Told(exposure, Names(exposure.reach.groups, workloads), workloads)


def print_exposure(found: Told) -> None:
    """Print two tables: new pods with whom they would have flows, and unguarded workloads."""
    click.echo("NEW PODS")
    lines: list[tuple[str, ...]] = []
    for group, rows in _by_group(found.exposure).items():
        name = "; ".join(found.exposure.names(group))
        for index, row in enumerate(_shown(rows)):
            whom = "nobody" if row.shut else found.names.senders(row.others)
            why = because_text(row.because)
            lines.append(("" if index else name, row.verb, whom, row.ports, why))
    print_columns(("IF THERE WERE", "IT", "WHOM", "PORTS", "BECAUSE"), lines)
    click.echo("\nUNGUARDED")
    open_ = [(who, direction, said) for who, direction, said in _unguarded(found)]
    if open_:
        print_columns(("WORKLOAD", "DIRECTION", "POLICIES"), open_)
    else:
        click.echo("every pod is guarded by a policy in both directions")
    click.echo(f"\n{_BLIND}")


def _by_group(exposure: Exposure) -> dict[int, list[Row]]:
    """The rows of each kind of new pods, joined where they say the same."""
    found: dict[int, dict[tuple[object, ...], Row]] = {n: {} for n in bits(exposure.new)}
    for each in exposure.rows():
        row = _row(each)
        key = (row.verb, row.ports, row.because, row.shut)
        before = found[each.group].get(key)
        others = row.others | (before.others if before is not None else 0)
        found[each.group][key] = msgspec.structs.replace(row, others=others)
    return {number: list(rows.values()) for number, rows in found.items()}


def _row(each: Exposed) -> Row:
    row = each.flow.row
    shut = not row.ports and not row.unknown
    verb = _VERBS[each.direction]
    return Row(verb, each.others, "" if shut else ports_text(row), each.flow.because, shut)


def _shown(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows that let something through; what lets nothing through only if all is shut."""
    for verb in _VERBS.values():
        own = [row for row in rows if row.verb == verb]
        through = [row for row in own if not row.shut]
        yield from through
        if own and not through:
            causes = dict.fromkeys(cause for row in own for cause in row.because)
            yield msgspec.structs.replace(own[0], because=tuple(causes))


def _unguarded(found: Told) -> Iterator[tuple[str, str, str]]:
    """Workloads with the directions in which no policy guards them."""
    by_workload: dict[tuple[str, str], dict[str, None]] = {}
    for each in found.exposure.unguarded():
        name = found.workloads.get((each.pod.namespace, each.pod.name), each.pod.name)
        said = "not known" if each.doubts else "none"
        key = (f"{each.pod.namespace}/{name}", said)
        by_workload.setdefault(key, {})[each.direction] = None
    for (who, said), directions in by_workload.items():
        yield who, " and ".join(directions), said


def exposure_document(found: Told, loaded: Loaded) -> dict[str, Any]:
    """The exposure as a JSON document; groups are referred to by index."""
    groups = found.exposure.reach.groups
    known = groups_json(groups, found.names)
    for number in bits(found.exposure.new):
        known[number] |= {"new": list(found.exposure.names(number))}
    return {
        "schema": SCHEMA,
        "ports": ports_json(found.exposure.reach.wanted),
        "groups": known,
        "flows": [_flow(each) for each in found.exposure.rows()],
        "unguarded": [
            {
                "pod": member_name(each.pod),
                "direction": each.direction,
                "certain": not each.doubts,
                "doubts": list(map(str, each.doubts)),
            }
            for each in found.exposure.unguarded()
        ],
        **doubts_json(loaded),
    }


def _flow(each: Exposed) -> dict[str, Any]:
    row = each.flow.row
    families = {"IPv4": row.v4, "IPv6": row.v6}
    return {
        "new": each.group,
        "direction": each.direction,
        "others": list(bits(each.others)),
        "ports": {name: ports_json(p) for name, p in families.items() if p is not None},
        "unknown": ports_json(row.unknown),
        "because": [str(cause) for cause in each.flow.because],
    }
