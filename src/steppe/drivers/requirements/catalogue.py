"""All requirements, in the order in which `steppe doctor` shows them."""

from steppe.drivers.requirements.host import MACHINE, PROGRAMS, SETTINGS
from steppe.drivers.requirements.kernel import KERNEL, OPTIONAL
from steppe.drivers.requirements.model import Level, Requirement

ALL: tuple[Requirement, ...] = tuple(
    sorted(
        (*MACHINE, *KERNEL, *PROGRAMS, *OPTIONAL, *SETTINGS),
        key=lambda r: list(Level).index(r.level),
    )
)
