"""Checks and messages that every kind shares, in the words of the API server.

The messages come from apimachinery's pkg/util/validation and its field.Error.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from steppe.admission.model import FieldError, Json
from steppe.net.address import parse_address

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[-a-z0-9]+")

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
PORT_MESSAGE = "must be between 1 and 65535, inclusive"
IMMUTABLE = "field is immutable"


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Errors:
    """The errors found so far, each with its field's path."""

    def __init__(self) -> None:
        self.found: list[FieldError] = []

    def _add(self, field: str, reason: str, message: str) -> None:
        self.found.append(FieldError(field, reason, message))

    def required(self, field: str, detail: str = "") -> None:
        self._add(field, "FieldValueRequired", f"Required value: {detail}".removesuffix(": "))

    def invalid(self, field: str, value: Any, detail: str) -> None:
        self._add(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")

    def forbidden(self, field: str, detail: str) -> None:
        self._add(field, "FieldValueForbidden", f"Forbidden: {detail}")

    def duplicate(self, field: str, value: Any) -> None:
        self._add(field, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")

    def not_found(self, field: str, value: Any) -> None:
        self._add(field, "FieldValueNotFound", f"Not found: {_shown(value)}")

    def too_long(self, field: str, limit: int) -> None:
        self._add(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")

    def unsupported(self, field: str, value: Any, supported: Iterable[str]) -> None:
        allowed = ", ".join(_shown(item) for item in sorted(supported))
        self._add(
            field,
            "FieldValueNotSupported",
            f"Unsupported value: {_shown(value)}: supported values: {allowed}",
        )

    def one_of(self, field: str, value: Any, supported: Sequence[str]) -> None:
        """An enum that must have a value."""
        if value in (None, ""):
            self.required(field)
        elif value not in supported:
            self.unsupported(field, value, supported)

    def immutable(self, field: str, old: Any, new: Any) -> None:
        if old != new:
            self.invalid(field, new, IMMUTABLE)


def is_label(text: str) -> list[str]:
    return _matches(text, _LABEL, 63, LABEL_MESSAGE)


def is_label_1035(text: str) -> list[str]:
    return _matches(text, _LABEL_1035, 63, LABEL_1035_MESSAGE)


def is_subdomain(text: str) -> list[str]:
    return _matches(text, _SUBDOMAIN, 253, SUBDOMAIN_MESSAGE)


def is_label_value(text: str) -> list[str]:
    return _matches(text, _LABEL_VALUE, 63, _LABEL_VALUE_MESSAGE)


def is_port_name(text: str) -> list[str]:
    """An IANA service name: at most 15 of a-z, 0-9 and "-", with a letter in it."""
    found = []
    if len(text) > 15:
        found.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def is_qualified_name(text: str) -> list[str]:
    """A label key or a finalizer: an optional DNS prefix, "/", and a name."""
    prefix, slash, name = text.rpartition("/")
    found = []
    if slash:
        found += [f"prefix part {m}" for m in is_subdomain(prefix)] if prefix else []
        if not prefix:
            found.append("prefix part must be non-empty")
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if name and not _QUALIFIED.fullmatch(name):
        found.append(_QUALIFIED_MESSAGE)
    return found


def _matches(text: str, pattern: re.Pattern[str], limit: int, message: str) -> list[str]:
    found = [f"must be no more than {limit} bytes"] if len(text) > limit else []
    return found if pattern.fullmatch(text) else [*found, message]


def labels(errors: Errors, field: str, values: Json) -> None:
    for key, value in values.items():
        for message in is_qualified_name(key):
            errors.invalid(field, key, message)
        for message in is_label_value(value):
            errors.invalid(field, value, message)


def port(errors: Errors, field: str, value: Any) -> None:
    if value is None or not 1 <= value <= 65535:
        errors.invalid(field, value or 0, PORT_MESSAGE)


def address(errors: Errors, field: str, value: str) -> int:
    """Check an IP address (no zone, as Go's ParseAddr alone would allow); its family, or 0."""
    try:
        return parse_address(value).version
    except ValueError:
        errors.invalid(
            field, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        )
        return 0


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def cidr(text: str) -> Network | None:
    """The prefix of a CIDR, if it is one; host bits may be set, as Go's ParseCIDR allows."""
    # Python would also take a bare address, a netmask after the slash, and a zone.
    if "%" in text or not text.partition("/")[2].isdigit():
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def network(errors: Errors, field: str, value: str) -> Network | None:
    """Check a CIDR."""
    found = cidr(value)
    if found is None:
        errors.invalid(
            field, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        )
    return found
