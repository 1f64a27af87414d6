"""What could not be read: nothing may be concluded from its absence."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known
from steppe.state.surroundings import Surroundings, Unread

_ANY = Affected()


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    del known
    yield from map(unread, around.unread)


def unread(part: Unread, pod: str = "", affects: Affected = _ANY) -> Finding:
    """That a part was not read, of the node or of one pod."""
    return Finding(
        "unread",
        f"{part.part} in {pod}" if pod else part.part,
        f"cannot be read, so what they do is not known: {part.why}",
        "see the reason, and run `steppe audit` again",
        affects=(affects,),
    )
