"""What could not be read: nothing may be concluded from its absence."""

from collections.abc import Iterator

from steppe.findings.finding import Affected, Finding
from steppe.findings.known import Known
from steppe.state.surroundings import Surroundings


def judge(around: Surroundings, known: Known) -> Iterator[Finding]:
    del known
    for part in around.unread:
        yield Finding(
            "unread",
            part.part,
            f"cannot be read, so what they do is not known: {part.why}",
            "see the reason, and run `steppe audit` again",
            affects=(Affected(),),
        )
