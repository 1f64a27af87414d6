"""What the printers share: columns, ages, counts and short texts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from steppe.admission.model import Json

NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"


class Printer(NamedTuple):
    """The columns of a kind, and an object's cells after its name (all cells if not `named`)."""

    columns: tuple[Json, ...]
    row: Callable[[Json, datetime], list[Any]]
    named: bool = True


def column(
    name: str, type_: str = "string", priority: int = 0, description: str = "", format_: str = ""
) -> Json:
    return {
        "name": name,
        "type": type_,
        "format": format_,
        "description": description,
        "priority": priority,
    }


NAME = column("Name", description="The object's name", format_="name")
AGE = column("Age")


def columns(*names: str, wide: tuple[str, ...] = ()) -> tuple[Json, ...]:
    """The name, columns always shown, and those of `-o wide`."""
    return (NAME, *(column(name) for name in names), *(column(name, "string", 1) for name in wide))


# Below so many seconds: the large unit, and the small one if that is shown too.
_DURATIONS = (
    (2 * 60, "s", ""),
    (10 * 60, "m", "s"),
    (3 * 3600, "m", ""),
    (8 * 3600, "h", "m"),
    (48 * 3600, "h", ""),
    (8 * 86400, "d", "h"),
    (2 * 365 * 86400, "d", ""),
    (8 * 365 * 86400, "y", "d"),
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}


def duration(seconds: int) -> str:
    """k8s.io/apimachinery's HumanDuration: 90s, 5m10s, 3h, 2d4h, 3y."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    for below, large, small in _DURATIONS:
        if seconds < below:
            count, rest = divmod(seconds, _SECONDS[large])
            less = rest // _SECONDS[small] if small else 0
            return f"{count}{large}{less}{small}" if less else f"{count}{large}"
    return f"{seconds // _SECONDS['y']}y"


def since(stamp: str | None, now: datetime) -> str:
    """The time since an RFC 3339 stamp, or "<unknown>"."""
    if not stamp:
        return UNKNOWN
    try:
        then = datetime.fromisoformat(stamp)
        return duration(int((now - then).total_seconds()))
    except (TypeError, ValueError):
        return UNKNOWN


def age(obj: Json, now: datetime) -> str:
    return since(obj.get("metadata", {}).get("creationTimestamp"), now)


def pairs(labels: Json | None) -> str:
    """Labels as a selector: a=b,c=d."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else NONE


def selector(value: Json | None) -> str:
    """A metav1.LabelSelector as kubectl shows it."""
    if not value:
        return NONE
    terms = [f"{key}={text}" for key, text in sorted(value.get("matchLabels", {}).items())]
    for term in value.get("matchExpressions", ()):
        key, operator, values = term["key"], term["operator"], ",".join(term.get("values", ()))
        terms.append(
            {"Exists": key, "DoesNotExist": f"!{key}"}.get(
                operator, f"{key} {operator.lower()} ({values})"
            )
        )
    return ",".join(terms) or NONE


def containers(template: Json) -> tuple[str, str]:
    """The names and the images of a pod template's containers."""
    found = template.get("spec", {}).get("containers", ())
    return ",".join(c["name"] for c in found), ",".join(c.get("image", "") for c in found)
