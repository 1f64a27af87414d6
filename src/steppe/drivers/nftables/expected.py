"""The form in the kernel of a table that libnftables has just made, to compare the real one with.

Rules are compared as the kernel's bytes, so none need be read back into nft's words. A namespace
of its own, which no other program uses, has the table while it is read.
"""

from collections.abc import Iterable, Iterator, Mapping

from steppe.drivers.driver import Fault
from steppe.drivers.errors import KernelError
from steppe.drivers.netlink.netns import call_in_new
from steppe.drivers.nftables.batch import with_targets
from steppe.drivers.nftables.dump import Dump, Form
from steppe.drivers.nftables.elements import Elements
from steppe.drivers.nftables.library import Library, NftError
from steppe.drivers.nftables.render import chain_text, skeleton_text
from steppe.state.nft import Skeleton


class Expected:
    """The form that a skeleton's table has in the kernel; several threads may ask."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self._known: dict[frozenset[str], Form] = {}

    def beside(self, actual: Form | None) -> tuple[Form, set[str]]:
        """The form that a table shall have, with the chains from templates that this one has; and
        their names.
        """
        fixed = {chain.name for chain in self.skeleton.chains}
        names = actual.chains.keys() - fixed if actual is not None else ()
        made = {name for name in names if self.skeleton.chain(name) is not None}
        return self.form(made), made

    def form(self, names: Iterable[str]) -> Form:
        """The form with these chains from templates."""
        wanted = frozenset(names)
        found = self._known.get(wanted)
        if found is None:
            found = call_in_new(lambda: self._made(wanted))
            self._known = {wanted: found}
        return found

    def _made(self, names: frozenset[str]) -> Form:
        chains = with_targets(self.skeleton, sorted(names), ())
        text = skeleton_text(self.skeleton)
        text += "".join(chain_text(self.skeleton.table, chain) for chain in chains)
        dump = Dump(self.skeleton.table)
        elements = Elements(self.skeleton.table, {})
        try:
            with Library() as library:
                library.run(text)
                elements.fill(chains)
                form = dump.form()
        except NftError as error:
            raise self._failed(str(error)) from error
        finally:
            elements.close()
            dump.close()
        if form is None:
            raise self._failed("it was made, and is not there")
        return form

    def _failed(self, detail: str) -> KernelError:
        return KernelError(f"make table inet {self.skeleton.table}, to compare", detail=detail)


def missing(table: str) -> Fault:
    """The fault that there is no table."""
    return Fault(f"table inet {table}", "missing")


def faults(table: str, actual: Form | None, wanted: Form) -> tuple[Fault, ...]:
    """How the actual table differs from the wanted one; () only if they are equal."""
    whole = f"table inet {table}"
    if actual is None:
        return (missing(table),)
    found = [
        *_differences("chain", actual.chains, wanted.chains),
        *_differences("set", actual.sets, wanted.sets),
    ]
    # Its flags, or something in it that is neither set nor chain.
    if not found and actual != wanted:
        return (Fault(whole, "differs"),)
    return tuple(Fault(f"{fault.what} of {whole}", fault.how) for fault in found)


def _differences(
    kind: str, actual: Mapping[str, object], wanted: Mapping[str, object]
) -> Iterator[Fault]:
    for name in sorted(actual.keys() | wanted.keys()):
        if name not in actual:
            yield Fault(f"{kind} {name}", "missing")
        elif name not in wanted:
            yield Fault(f"{kind} {name}", "foreign")
        elif actual[name] != wanted[name]:
            yield Fault(f"{kind} {name}", "differs")
