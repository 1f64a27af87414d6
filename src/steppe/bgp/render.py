"""The tables as BIRD 2's configuration: equal tables give equal bytes.

    statics 'pods4', 'services4'  ──▶ master4 ──export filters──▶ sessions
    sessions ──import filters──▶ master4 ──▶ 'kernel4' (protocol bird, metric 512)

Steppe's own routes to other nodes stay in the kernel beside BIRD's with a higher metric: when a
session or BIRD itself is gone, packets inside the cluster go on.

The kernel protocols have `graceful restart` too: without it BIRD deletes its kernel routes when it
starts again.
"""

from collections.abc import Iterable, Iterator, Mapping

from steppe.bgp.objects import Rule
from steppe.bgp.tables import (
    Announcement,
    AnnouncementKey,
    BgpTables,
    Direction,
    Filter,
    FilterKey,
    Session,
    SessionKey,
    Source,
)
from steppe.bgp.text import add_community, bare, inside, prefix_set, symbol, words
from steppe.net.address import of_version, sort_key
from steppe.state.claim import Entry

METRIC = 512
"""Of BIRD's routes in the kernel; Steppe's have 1024 (state/route.py)."""
FAMILIES = (4, 6)
_BFD_TIMERS = "interval 300 ms; multiplier 3;"
# Routers find an unnumbered neighbour by its advertisements; lifetime 0: it is no default router.
_FOUND = "max ra interval 10; min ra interval 3; default lifetime 0;"
_SOURCES: tuple[Source, ...] = ("pods", "services")


def render(tables: BgpTables, passwords: Mapping[str, str]) -> str:
    """The whole file. `passwords` has one for each key that a session names, as text that
    `text.is_password` accepts; KeyError else.
    """
    parts = [_head(tables), *(_kernel(tables, version) for version in FAMILIES)]
    parts += [_static(tables, source, version) for source in _SOURCES for version in FAMILIES]
    entries = sorted(tables.sessions.items(), key=lambda item: item[1].value.name)
    for key, entry in entries:
        parts += _filters(tables, entry.value)
        parts.append("\n".join(_session(key, entry, passwords)))
    return "\n".join(part for part in parts if part)


def protocol_of(session: Session) -> str:
    """The name of the session's protocol, as BIRD shows it."""
    return bare(symbol(session.name))


def _head(tables: BgpTables) -> str:
    lines = [
        "# Written by Steppe, which writes it again: see `steppe bgp`. It may hold passwords.",
        f"router id {tables.router_id};",
        "timeformat protocol iso long;",
        "graceful restart wait 60;",
        "protocol device 'links' { scan time 10; }",
    ]
    if any(entry.value.bfd for entry in tables.sessions.values()):
        of_links = f'interface "*" {{ {_BFD_TIMERS} }};'
        lines.append(f"protocol bfd 'liveness' {{ {of_links} multihop {{ {_BFD_TIMERS} }}; }}")
    links = sorted({key.interface for key in tables.sessions if key.interface})
    lines += [
        f'protocol radv {symbol("found", link)} {{ interface "{link}" {{ {_FOUND} }}; }}'
        for link in links
    ]
    return "\n".join(lines) + "\n"


def _kernel(tables: BgpTables, version: int) -> str:
    """What of the learned routes goes into the kernel."""
    own = of_version(tables.sources, version)
    source = f"krt_prefsrc = {own}; " if own is not None else ""
    name = symbol(f"to-kernel{version}")
    return (
        f"filter {name} {{\n"
        f"  if source != RTS_BGP || dest != RTD_UNICAST then reject;\n"
        f"  {source}accept;\n}}\n"
        f"protocol kernel {symbol(f'kernel{version}')} {{\n"
        f"  metric {METRIC}; persist; graceful restart on; scan time 1; merge paths on limit 16;\n"
        f"  ipv{version} {{ import none; export filter {name}; }};\n"
        f"}}\n"
    )


def _static(tables: BgpTables, source: Source, version: int) -> str:
    """The prefixes that this node originates; none of them reaches the kernel."""
    name = symbol(f"{source}{version}")
    lines = [f"protocol static {name} {{ ipv{version};"]
    for key, entry in _sorted(tables.announcements):
        if entry.value.source == source and key.prefix.version == version:
            added = " ".join(map(add_community, entry.value.communities))
            end = f" {{ {added} }};" if added else ";"
            causes = ", ".join(map(str, entry.because))
            lines.append(f"  route {key.prefix} unreachable{end} # {words(causes)}")
    return "\n".join((*lines, "}\n"))


def _sorted(
    announcements: Mapping[AnnouncementKey, Entry[AnnouncementKey, Announcement]],
) -> list[tuple[AnnouncementKey, Entry[AnnouncementKey, Announcement]]]:
    return sorted(announcements.items(), key=lambda item: sort_key(item[0].prefix))


def _filter_name(session: Session, direction: Direction, version: int) -> str:
    return symbol(f"{'in' if direction == 'import' else 'out'}{version}", session.name)


def _filters(tables: BgpTables, session: Session) -> Iterator[str]:
    directions: tuple[Direction, ...] = ("import", "export")
    for direction in directions:
        entry = tables.filters.get(FilterKey(session.name, direction))
        for version in FAMILIES:
            # Without an entry nothing passes.
            value = entry.value if entry is not None else Filter(rules=())
            lines = _conditions(value, direction, version)
            name = _filter_name(session, direction, version)
            yield "\n".join((f"filter {name} {{", *(f"  {line}" for line in lines), "}"))


def _conditions(value: Filter, direction: Direction, version: int) -> Iterator[str]:
    if direction == "export":
        yield from _may_leave(value, version)
    refused = [network for network in value.refused if network.version == version]
    if refused:
        yield f"if net ~ [ {', '.join(map(inside, refused))} ] then reject;"
    if direction == "import" and value.rules is None:
        # A default route is taken from a router only by a rule that names it.
        yield f"if net = {'0.0.0.0/0' if version == 4 else '::/0'} then reject;"
    yield from map(add_community, value.communities)
    if value.rules is None:
        yield "accept;"
        return
    for accept, group in _runs(rule for rule in value.rules if rule.prefix.version == version):
        yield f"if net ~ [ {prefix_set(group)} ] then {'accept' if accept else 'reject'};"
    yield "reject;"


def _may_leave(value: Filter, version: int) -> Iterator[str]:
    own = [f'proto = "{source}{version}"' for source in value.sources]
    if value.reflected:
        own.append('source = RTS_BGP && proto ~ "node:*"')
    yield f"if !( {' || '.join(f'({each})' for each in own) or 'false'} ) then reject;"


def _runs(rules: Iterable[Rule]) -> Iterator[tuple[bool, list[Rule]]]:
    """Neighbouring rules with one action, in their order."""
    run: list[Rule] = []
    for rule in rules:
        if run and run[0].accept != rule.accept:
            yield run[0].accept, run
            run = []
        run.append(rule)
    if run:
        yield run[0].accept, run


def _session(
    key: SessionKey, entry: Entry[SessionKey, Session], passwords: Mapping[str, str]
) -> Iterator[str]:
    session = entry.value
    yield f"protocol bgp {symbol(session.name)} {{"
    yield f'  description "{words(", ".join(map(str, entry.because)))}";'
    yield f"  local {f'{session.local} ' if session.local else ''}as {session.own_asn};"
    if key.address is not None:
        yield f"  neighbor {key.address} as {session.asn};"
    else:
        yield f'  interface "{key.interface}"; neighbor range fe80::/10 as {session.asn};'
        yield f'  dynamic name "{protocol_of(session)}#";'
    yield "  direct;" if session.hops == 1 else f"  multihop {session.hops};"
    if session.about.kind == "Node":
        yield "  ttl security on;"
    if session.client:
        yield "  rr client;"
    if session.password_key:
        yield f'  password "{passwords[session.password_key]}";'
    if session.bfd:
        yield "  bfd graceful;"
    yield f"  graceful restart on; graceful restart time {session.restart_seconds};"
    yield "  connect delay time 1; connect retry time 5; error wait time 1, 30; hold time 90;"
    for version in FAMILIES:
        yield _channel(session, version)
    yield "}\n"


def _channel(session: Session, version: int) -> str:
    hop = of_version(session.next_hops, version)
    parts = [
        f"import filter {_filter_name(session, 'import', version)};",
        f"export filter {_filter_name(session, 'export', version)};",
        *(["extended next hop on;"] if version == 4 else []),
        *(["gateway direct;"] if session.hops == 1 else []),
        *([f"next hop address {hop};"] if hop is not None else []),
    ]
    return f"  ipv{version} {{ {' '.join(parts)} }};"
