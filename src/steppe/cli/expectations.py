"""`steppe reach --assert FILE`: flows that must be, and flows that must not.

    - from: shop/web-*          who, as --from takes it
      to: svc/shop/db:5432      who, as --to takes it
      port: 5432                or behind `to`; without any, all ports are meant
      expect: denied            or allowed, of every sender with every receiver

Flows from a pod to itself are not checked: a pod always reaches itself.
"""

from pathlib import Path
from typing import Literal, get_args

import msgspec
import yaml

from steppe.cli.source import BadInput
from steppe.document_limits import TooDeepError, check_yaml
from steppe.errors import SteppeError
from steppe.net.ports import EVERYTHING, parse_ports
from steppe.reach.ends import Ends
from steppe.reach.expect import Failure, failures
from steppe.reach.reach import Reach

Expected = Literal["allowed", "denied"]
_KEYS = frozenset(("from", "to", "port", "expect"))


class Expectation(msgspec.Struct, frozen=True):
    """One entry of the file, as written, and its line number."""

    line: int
    sender: str
    receiver: str
    port: str
    expect: Expected

    def __str__(self) -> str:
        port = f" port {self.port}" if self.port else ""
        return f"{self.sender} → {self.receiver}{port}: {self.expect}"


def read_expectations(path: str) -> tuple[Expectation, ...]:
    """The entries of a file; BadInput names the line that cannot be used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        check_yaml(text.encode())
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except TooDeepError as error:
        raise BadInput(f"{path}: {error}") from error
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error}") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        raise BadInput(f"{path}: a list of flows is wanted, each with from, to and expect")
    return tuple(_entry(path, node) for node in root.value)


def _entry(path: str, node: yaml.Node) -> Expectation:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{path}:{line}: not a flow; write from, to and expect")
    found: dict[str, str] = {}
    for key, value in node.value:
        where = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or key.value not in _KEYS:
            written = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
            raise BadInput(f"{where}: {written} is none of {', '.join(sorted(_KEYS))}")
        if not isinstance(value, yaml.ScalarNode):
            raise BadInput(f"{where}: {key.value} is one text, not a list or a mapping")
        if key.value in found:
            raise BadInput(f"{where}: {key.value} is given twice; write one entry for each flow")
        found[key.value] = value.value
    missing = sorted(_KEYS - {"port"} - {key for key, value in found.items() if value})
    if missing:
        raise BadInput(f"{path}:{line}: {', '.join(missing)} is missing")
    if found["expect"] not in get_args(Expected):
        raise BadInput(f"{path}:{line}: expect is {found['expect']!r}, not allowed or denied")
    expect: Expected = "allowed" if found["expect"] == "allowed" else "denied"
    return Expectation(line, found["from"], found["to"], found.get("port", ""), expect)


def judged(
    path: str, reach: Reach, ends: Ends, wanted: tuple[Expectation, ...]
) -> tuple[tuple[Expectation, tuple[Failure, ...]], ...]:
    """Each expectation with its failures; BadInput if one matches no end."""
    return tuple((entry, _judged(path, reach, ends, entry)) for entry in wanted)


def _judged(path: str, reach: Reach, ends: Ends, entry: Expectation) -> tuple[Failure, ...]:
    try:
        senders, receivers = ends.chosen(entry.sender), ends.chosen(entry.receiver)
        ports = parse_ports(entry.port) if entry.port else receivers.ports
    except (SteppeError, ValueError) as error:
        raise BadInput(f"{path}:{entry.line}: {error}") from error
    if senders.is_service:
        raise BadInput(f"{path}:{entry.line}: from: a Service does not send; name its pods")
    if receivers.is_service and entry.port:
        raise BadInput(f"{path}:{entry.line}: write a Service's port behind its name")
    allowed = entry.expect == "allowed"
    return tuple(failures(reach, senders, receivers, ports or EVERYTHING, allowed=allowed))
