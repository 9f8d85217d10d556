"""A plant link that only takes one subscription and delivers what the test sends."""

from collections.abc import Mapping

from edge_agent.domain.message import InboundMessage
from edge_agent.ports import Clock, InboundHandler


class TriggerLink:
    """The part of ``ports.PlantLink`` that a trigger uses."""

    topic_root = "acme/x/y/l/c/_inspect/v1/box"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handler: InboundHandler | None = None
        self.topic = ""

    def subscribe(self, topic_filter: str, handler: InboundHandler, *, qos: int = 1, keep: bool = True) -> None:
        self.topic, self._handler = topic_filter, handler

    def send(self, body: str | bytes, properties: Mapping[str, str] | None = None) -> None:
        """Deliver one message."""
        raw = body.encode() if isinstance(body, str) else body
        self.take(
            InboundMessage(
                source="",
                message_id="",
                topic=self.topic,
                body=raw,
                received_at=self._clock.now(),
                properties=properties or {},
            )
        )

    def take(self, message: InboundMessage) -> None:
        """Deliver it as it is."""
        assert self._handler is not None
        self._handler(message)
