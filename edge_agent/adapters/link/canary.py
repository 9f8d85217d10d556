"""Does the broker refuse what it must refuse? A message where this box must not write shows it.

Rules that are too wide do not show themselves in work: a box that may write its own ``in/`` can be sent forged
commands by whoever holds its certificate, one that may write its neighbour's ``out/`` can speak for it.
"""

import time
from collections.abc import Callable

import structlog

from edge_agent.adapters.link.connection import Connection, Outgoing
from edge_agent.contract import topics
from edge_agent.ports import LinkAlarm

log = structlog.get_logger(__name__)

COMPONENT = "access rules"
EVERY_S = 24 * 3600.0
REFUSED = 0x80
TRIES = 3
NAME = "acl-canary"


class Canary:
    """Publishes on forbidden topics after the start and each day. For the network thread alone, but for `alarms`.

    A broker may answer with a refusal, or hang up. A connection that ends without an answer is tried again, but not
    for ever: a broker that hangs up each time refuses, too, and the box has other things to do with its connection.
    """

    def __init__(self, connection: Connection, topic_root: str, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._connection, self._now_s = connection, now_s
        self._topics = forbidden(topic_root)
        self._next_s: float | None = None
        self._tries = 0
        self._accepted: set[str] = set()
        self._refused: set[str] = set()

    def tick(self, epoch: int) -> None:
        """Publish when it is time."""
        if self._next_s is not None and self._now_s() < self._next_s:
            return
        self._tries = 1 if self._next_s is not None else self._tries + 1  # the day is over, or there was no answer
        self._next_s = self._now_s() + EVERY_S
        for topic in self._topics:
            message = Outgoing(topic=topic, body=b'{"canary":true}', content_type="application/json", expiry_s=1)
            self._connection.probe(message, epoch, self._heard_about(topic))

    def alarms(self) -> list[LinkAlarm]:
        """Whether all is well; nothing before all is answered."""
        accepted, refused = set(self._accepted), set(self._refused)
        if len(accepted | refused) < len(self._topics):
            return []
        if accepted:
            text = (
                f"the broker let this box publish on {', '.join(sorted(accepted))}, where it must not: its access "
                "rules are too wide (docs/security.md)"
            )
            return [LinkAlarm(component=COMPONENT, active=True, detail=text)]
        text = "the broker refuses what this box must not publish"
        return [LinkAlarm(component=COMPONENT, active=False, detail=text)]

    def _heard_about(self, topic: str) -> Callable[[int | None], None]:
        def heard(code: int | None) -> None:
            if code is None:
                if self._tries < TRIES:
                    self._next_s = None
                    return
                code = REFUSED
            log.info("access rules tried", topic=topic, code=f"0x{code:02x}")
            right, wrong = (self._refused, self._accepted) if code >= REFUSED else (self._accepted, self._refused)
            right.add(topic)
            wrong.discard(topic)

        return heard


def forbidden(topic_root: str) -> tuple[str, str]:
    """Below this box's own ``in/``, and below the ``out/`` of a box that there is not. Nobody subscribes to either."""
    neighbour = f"{topic_root}-{NAME}"
    return topics.under(topic_root, f"in/{NAME}"), topics.under(neighbour, f"out/{NAME}")
