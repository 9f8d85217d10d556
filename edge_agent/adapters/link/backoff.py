"""How long to wait before connecting again."""

from random import Random, SystemRandom

BASE_S = 0.5
CAP_S = 60.0
STABLE_S = 5.0
STABLE_FACTOR = 4.0
"""A twin that waits twice as long, with the longest jitter, stays away for three times our wait."""
REFUSED_S = 30.0
"""After a refusal (wrong password, not authorized): slower, a person has to act."""
FLAPPING_AT = 4


class Backoff:
    """Exponential, with jitter so that a hall full of boxes does not come back in one second.

    Two counts. Failures to reach the broker end with the first connection. Connections that end soon (flaps) are
    forgotten only after one that held for clearly longer than we had waited for it: a CONNACK proves nothing when a
    message makes the broker hang up, or when two boxes with one client id push each other out.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or SystemRandom()
        self._unreached = 0
        self._flaps = 0
        self._nominal_s = 0.0

    @property
    def flapping(self) -> bool:
        """Has the connection been ended again and again soon after it was made?"""
        return self._flaps >= FLAPPING_AT

    def after_failure(self) -> float:
        """Seconds to wait when the broker could not be reached."""
        self._unreached += 1
        return self._wait(self._unreached - 1)

    def after_loss(self, held_s: float) -> float:
        """Seconds to wait after a connection that held ``held_s``."""
        self._unreached = 0
        if held_s >= max(STABLE_S, STABLE_FACTOR * self._nominal_s):
            self._flaps = 0
        self._flaps += 1
        return self._wait(self._flaps - 1)

    def after_refusal(self) -> float:
        """Seconds to wait after the broker refused us."""
        return REFUSED_S * self._random.uniform(1.0, 2.0)

    def _wait(self, doublings: int) -> float:
        self._nominal_s = min(CAP_S, BASE_S * 2.0 ** min(doublings, 16))
        return self._nominal_s * self._random.uniform(0.5, 1.5)
