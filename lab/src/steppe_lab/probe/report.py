"""A probe's results as text: a matrix where it fits, a summary, and every failure."""

from collections import Counter

from tabulate import tabulate

from steppe_lab.probe.run import Report, Result

MAX_COLUMNS = 14
MAX_FAILURES = 30


def text(report: Report) -> str:
    """What `steppe lab probe` prints."""
    parts = [_matrix(report.results), _summary(report.results), _failures(report.results)]
    parts += [f"not probed: {name}" for name in report.skipped]
    return "\n\n".join(filter(None, parts))


def _matrix(results: tuple[Result, ...]) -> str:
    """From each source to each target: 4 and 6 for a family that works, x for one that fails."""
    sources = list(dict.fromkeys(each.source for each in results))
    probed = dict.fromkeys(each.target for each in results)
    targets = [*(s for s in sources if s in probed), *(t for t in probed if t not in sources)]
    if len(targets) > MAX_COLUMNS:
        return ""
    cells: dict[tuple[str, str], dict[str, bool]] = {}
    for each in results:
        cell = cells.setdefault((each.source, each.target), {})
        cell[each.family] = cell.get(each.family, True) and each.ok
    rows = [
        (number, source, *(_cell(cells.get((source, target), {})) for target in targets))
        for number, source in enumerate(sources, start=1)
    ]
    # Targets are numbered: their names would make columns too wide for a terminal.
    numbers = {source: number for number, source in enumerate(sources, start=1)}
    heads = ("", "FROM \\ TO", *(str(numbers.get(target, target)) for target in targets))
    return tabulate(rows, heads, "plain", disable_numparse=True)


def _cell(families: dict[str, bool]) -> str:
    marks = (family[-1] if ok else "x" for family, ok in sorted(families.items()))
    return " ".join(marks) or "·"


def _summary(results: tuple[Result, ...]) -> str:
    """One line a relation, family and protocol: how many, and which source was seen."""
    total: Counter[tuple[str, str, str]] = Counter()
    good: Counter[tuple[str, str, str]] = Counter()
    for each in results:
        key = (each.relation, each.family, each.protocol)
        total[key] += 1
        good[key] += each.ok
    rows = [(*key, f"{good[key]} of {count}", _source(key)) for key, count in total.items()]
    return tabulate(rows, ("RELATION", "FAMILY", "PROTOCOL", "OK", "SOURCE SEEN"), "plain")


def _source(key: tuple[str, str, str]) -> str:
    relation, _, protocol = key
    if protocol == "icmp":
        return "(not told)"
    return "the node's (masqueraded)" if relation.endswith("outside") else "the sender's own"


def _failures(results: tuple[Result, ...]) -> str:
    failed = [each for each in results if not each.ok]
    rows = [
        (each.source, each.target, each.family, f"{each.protocol}/{each.port or '-'}", each.error)
        for each in failed[:MAX_FAILURES]
    ]
    more = f"\n… and {len(failed) - MAX_FAILURES} more" if len(failed) > MAX_FAILURES else ""
    return (
        tabulate(rows, ("FROM", "TO", "FAMILY", "PORT", "FAILED"), "plain") + more if rows else ""
    )
