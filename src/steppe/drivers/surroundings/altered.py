"""What others have changed in Steppe's own table."""

from steppe.drivers.nftables.altered import alterations
from steppe.drivers.surroundings.look import Look
from steppe.state.surroundings import Altered


def read(look: Look) -> tuple[Altered, ...]:
    """() where no form is expected; NftError or KernelError where the table cannot be read."""
    return alterations(look.expected) if look.expected is not None else ()
