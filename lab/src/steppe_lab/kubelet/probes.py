"""The state machine of one probe. Pure: results in, verdict out.

"failureThreshold: After a probe fails failureThreshold times in a row, Kubernetes considers that
the overall check has failed"; successThreshold likewise.
"""

import msgspec

from steppe_lab.kubelet.records import Probe


class Streak(msgspec.Struct, frozen=True):
    """How the last few results went, and what they add up to; None: too early to tell."""

    verdict: bool | None = None
    last: bool | None = None
    length: int = 0

    def after(self, success: bool, probe: Probe) -> "Streak":
        """The streak with one more result."""
        length = self.length + 1 if success == self.last else 1
        needed = probe.success_threshold if success else probe.failure_threshold
        verdict = success if length >= needed else self.verdict
        return Streak(verdict, success, length)


class Backoff(msgspec.Struct, frozen=True):
    """CrashLoopBackOff: the first restart is immediate, then 1 s, doubling up to a minute.

    Kubernetes starts at 10 s and ends at 5 minutes, too slow for a lab that people watch. As there,
    a container that ran for twice the maximum starts over.
    """

    delay: float = 0.0
    first: float = 1.0
    maximum: float = 60.0

    def after(self, ran_for: float) -> "Backoff":
        """The backoff once a container that ran that long has been started again."""
        if self.delay == 0.0 or ran_for > 2 * self.maximum:
            return msgspec.structs.replace(self, delay=self.first)
        return msgspec.structs.replace(self, delay=min(self.delay * 2, self.maximum))

    def wait(self, ran_for: float) -> float:
        """How long to hold the next start back."""
        return 0.0 if ran_for > 2 * self.maximum else self.delay
