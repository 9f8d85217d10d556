"""A station that is paused: nothing is inspected, every part is held, the line is told "not ready"."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from edge_agent.contract import inbound, payloads
from edge_agent.contract.commands import INVALID_REQUEST, UNKNOWN_ID, CommandOutcome
from edge_agent.domain.reason import Reason
from edge_agent.ports import Clock, UnitOfWork

log = structlog.get_logger(__name__)

CODE = "station.paused"


class Pause:
    """Whether one station is paused. Set by the one who commands, read by the station's own threads."""

    def __init__(self, reason: Reason | None = None) -> None:
        self._reason: Reason | None = None
        self._lifted = threading.Event()
        self.set(reason)

    @property
    def reason(self) -> Reason | None:
        """Why parts are held now; None when the station is at work."""
        return self._reason

    def set(self, reason: Reason | None) -> None:
        """Pause with this reason, or (None) go on."""
        self._reason = reason
        if reason is None:
            self._lifted.set()
        else:
            self._lifted.clear()

    def wait_lifted(self, timeout_s: float) -> bool:
        """Wait until the station may work; False when it still may not."""
        return self._lifted.wait(timeout_s)


def load_pause(unit: UnitOfWork, station_id: str) -> Pause:
    """The pause as the store has it: a restart does not end it."""
    noted: dict[str, Any] | None = unit.facts.get(_fact(station_id))
    return Pause(Reason(code=CODE, text=str(noted["text"])) if noted else None)


class PauseCommands:
    """The commands ``pause`` and ``resume``.

    Args:
        pauses: station id to its pause.
        changed: called after a change took effect.
    """

    def __init__(self, pauses: Mapping[str, Pause], *, clock: Clock, changed: Callable[[], object]) -> None:
        self._pauses = pauses
        self._clock = clock
        self._changed = changed

    def pause(self, unit: UnitOfWork, request: inbound.CommandRequest) -> CommandOutcome:
        """Hold every part of the station (of all stations) from now on. Parts already taken are inspected."""
        stations, args = self._meant(request)
        if isinstance(stations, CommandOutcome):
            return stations
        by = request.requested_by or "the plant"
        text = f"paused by {by} at {payloads.stamp(self._clock.now())}" + (f": {args.reason}" if args.reason else "")
        going = [station for station in stations if self._pauses[station].reason is None]
        for station in going:
            unit.facts.set(_fact(station), {"text": text})
        return self._done(stations, going, Reason(code=CODE, text=text))

    def resume(self, unit: UnitOfWork, request: inbound.CommandRequest) -> CommandOutcome:
        """Inspect again."""
        stations, _ = self._meant(request)
        if isinstance(stations, CommandOutcome):
            return stations
        paused = [station for station in stations if self._pauses[station].reason is not None]
        for station in paused:
            unit.facts.set(_fact(station), None)
        return self._done(stations, paused, None)

    def _meant(self, request: inbound.CommandRequest) -> tuple[list[str] | CommandOutcome, payloads.StationArgs]:
        try:
            args = inbound.station_args(request)
        except inbound.InvalidMessage as error:
            return CommandOutcome.rejected(INVALID_REQUEST, error.detail), payloads.StationArgs()
        if args.station_id is None:
            return list(self._pauses), args
        if args.station_id not in self._pauses:
            known = ", ".join(self._pauses)
            return CommandOutcome.rejected(UNKNOWN_ID, f"no station {args.station_id!r}; there are: {known}"), args
        return [args.station_id], args

    def _done(self, stations: list[str], changing: list[str], reason: Reason | None) -> CommandOutcome:
        word = "at work" if reason is None else "paused"
        told = [f"{station}: {word}{'' if station in changing else ' already'}" for station in stations]
        return CommandOutcome(
            status="done",
            detail="; ".join(told),
            subjects=tuple(f"station:{station}" for station in changing),
            then=lambda: self._apply(changing, reason),
        )

    def _apply(self, stations: list[str], reason: Reason | None) -> None:
        for station in stations:
            self._pauses[station].set(reason)
            log.warning("station paused" if reason else "station resumed", station=station, why=reason and reason.text)
        if stations:
            self._changed()


def _fact(station_id: str) -> str:
    return f"paused:{station_id}"
