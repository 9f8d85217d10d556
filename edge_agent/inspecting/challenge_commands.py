"""The command ``challenge``: an operator begins one, or a named person releases the station."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from edge_agent.contract import inbound, payloads
from edge_agent.contract.commands import INVALID_REQUEST, UNABLE, UNKNOWN_ID, CommandOutcome
from edge_agent.domain.challenge import as_record, fact, from_record, released, started
from edge_agent.ports import Clock, UnitOfWork


def note(unit: UnitOfWork, station_id: str, *, release: bool, by: str, reason: str, now: datetime) -> dict[str, Any]:
    """Write down that a challenge begins, or that the station is released; what is stored now.

    Raises:
        LookupError: the station has no challenge.
        ValueError: nobody is named, or a release has no reason.
    """
    record = unit.facts.get(fact(station_id))
    if not record:
        raise LookupError(f"station {station_id!r} has no challenge")
    if not by.strip():
        raise ValueError("it must be said who asks: a role or pseudonym")
    if release and not reason.strip():
        raise ValueError("a release needs a reason: the audit log keeps who let the line go on, and why")
    state = from_record(record, now)
    changed = released(state, by, reason, now) if release else started(state, by, now)
    noted: dict[str, Any] = {**record, **as_record(changed)}
    unit.facts.set(fact(station_id), noted)
    return noted


class ChallengeCommands:
    """The command over MQTT.

    Args:
        stations: those that have a challenge.
    """

    def __init__(self, stations: Collection[str], *, clock: Clock) -> None:
        self._stations = tuple(stations)
        self._clock = clock

    def challenge(self, unit: UnitOfWork, request: inbound.CommandRequest) -> CommandOutcome:
        """Begin or release; the watch takes it over within a second."""
        try:
            args = inbound.args(payloads.ChallengeArgs, request)
        except inbound.InvalidMessage as error:
            return CommandOutcome.rejected(INVALID_REQUEST, error.detail)
        station = args.station_id or (self._stations[0] if len(self._stations) == 1 else None)
        if station not in self._stations:
            text = f"no station {args.station_id!r} with a challenge; there are: {', '.join(self._stations) or 'none'}"
            return CommandOutcome.rejected(UNKNOWN_ID, text)
        release = args.action == "release"
        try:
            noted = note(
                unit,
                station,
                release=release,
                by=request.requested_by,
                reason=args.reason,
                now=self._clock.now(),
            )
        except LookupError as error:
            return CommandOutcome.rejected(UNABLE, str(error))
        except ValueError as error:
            return CommandOutcome.rejected(INVALID_REQUEST, str(error))
        why = f": {args.reason}" if args.reason else ""
        done = f"released by {request.requested_by}" if release else f"challenge of {request.requested_by} begun"
        return CommandOutcome(
            status="done",
            detail=f"{station}: {done}{why}",
            result={"stationId": station, "parts": list(noted.get("parts", []))},
            subjects=(f"challenge:{station}",),
        )
