"""Process signals from Sparkplug B edge nodes: their metrics become samples of the configured signals."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from edge_agent.contract.complaints import Complain
from edge_agent.contract.inbound import InvalidMessage
from edge_agent.contract.sparkplug.host import HostView, Reading, Source
from edge_agent.contract.sparkplug.wire import SparkplugError
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.plant import Sample
from edge_agent.ports import Clock

log = structlog.get_logger(__name__)

_AHEAD = timedelta(minutes=5)
"""A source's clock may run ahead by this much; a later time is replaced by that of receipt, and the value is bad."""


class SparkplugIntake:
    """Takes the messages of the edge nodes; what is stale is a sample without a value: unknown, never normal."""

    def __init__(
        self,
        *,
        signals: Mapping[Source, str],
        accept: Callable[[Sample], None],
        clock: Clock,
        publish: Callable[[str, bytes], None] | None = None,
        complain: Complain = lambda _message, _error: None,
    ) -> None:
        """Args:
        accept: takes a sample, on the link's thread.
        publish: sends a message to an absolute topic; None where edge nodes must not be asked for a rebirth.
        complain: tells the plant of a message that cannot be used.
        """
        self._signals = signals
        self._accept = accept
        self._clock = clock
        self._publish = publish
        self._complain = complain
        self._view = HostView(signals)
        self._refused: Counter[tuple[str, str]] = Counter()

    def filters(self) -> list[str]:
        """Topic filters to subscribe to, with QoS 1 (deaths come with it)."""
        return self._view.filters()

    def on_message(self, message: InboundMessage) -> None:
        """Handler for all of them."""
        try:
            readings = self._view.take(message.topic, message.body)
        except SparkplugError as error:
            self._refuse(message, message.topic, error)
            return
        for reading in readings:
            self._accept(self._sample(reading, message))

    def ask(self) -> bool:
        """Ask those for a rebirth whose aliases are not known; True when somebody was asked."""
        if self._publish is None:
            return False
        requests = self._view.rebirths(int(self._clock.now().timestamp() * 1_000))
        for request in requests:
            log.info("rebirth requested", topic=request.topic)
            self._publish(request.topic, request.body)
        return bool(requests)

    def _sample(self, reading: Reading, message: InboundMessage) -> Sample:
        signal, at = self._signals[reading.source], _instant(reading.at_ms, message.received_at)
        if at is None:
            odd = SparkplugError("future-dated", f"{signal}: {reading.at_ms} is in the future")
            self._refuse(message, signal, odd)
            return Sample(signal=signal, value=None, at=message.received_at)
        is_number = reading.value is not None and math.isfinite(reading.value)
        return Sample(signal=signal, value=reading.value if is_number else None, at=at)

    def _refuse(self, message: InboundMessage, where: str, error: SparkplugError) -> None:
        kind = where, error.reason
        count = self._refused[kind] + 1
        self._refused[kind] = count
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a chattering sender must fill nothing
            self._complain(message, InvalidMessage(error.reason, f"{error.detail}; {count} refused so far"))
            log.warning("Sparkplug record refused", source=where, error=str(error), refused_so_far=count)


def _instant(at_ms: int | None, received_at: datetime) -> datetime | None:
    """When it was said; None for a time that cannot be."""
    if at_ms is None:
        return received_at
    try:
        at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return at if at <= received_at + _AHEAD else None
