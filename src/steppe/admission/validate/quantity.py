"""Resource quantities: 100m, 1.5, 64Mi, 1e3."""

import re
from decimal import Decimal
from functools import lru_cache

from steppe.admission.model import Json
from steppe.admission.validate.fields import Errors

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]+)?"
)
_SCALE = {
    **{unit: Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGTPE")},
}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_MESSAGE = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


@lru_cache(1 << 12)
def quantity(text: str) -> Decimal | None:
    """The number a quantity stands for, or None when it is not one."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, unit = Decimal(match[1]), match[2] or ""
    if unit.endswith("i"):
        return number * _SCALE[unit[0]]
    if unit in _DECIMAL:
        return number.scaleb(_DECIMAL[unit])
    return number.scaleb(int(unit[1:])) if unit else number


def resources(errors: Errors, at: str, value: Json) -> None:
    limits, requests = value.get("limits", {}), value.get("requests", {})
    for name, amounts in (("limits", limits), ("requests", requests)):
        for resource, text in amounts.items():
            amount = quantity(text)
            if amount is None:
                errors.invalid(f"{at}.{name}.{resource}", text, _MESSAGE)
            elif amount < 0:
                errors.invalid(
                    f"{at}.{name}[{resource}]", text, "must be greater than or equal to 0"
                )
    for resource, text in requests.items():
        wanted, limit = quantity(text), quantity(limits.get(resource, ""))
        if wanted is not None and limit is not None and wanted > limit:
            errors.invalid(
                f"{at}.requests",
                text,
                f"must be less than or equal to {resource} limit of {limits[resource]}",
            )
