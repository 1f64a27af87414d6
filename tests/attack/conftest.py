"""The labs' fixtures, for attacks on one."""

from tests.lab.conftest import _no_stale_labs

__all__ = ("_no_stale_labs",)
