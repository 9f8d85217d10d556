"""What the box says about itself on ``out/state``, and to the commands ``ping`` and ``status``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from edge_agent.contract import inbound, outbound, payloads
from edge_agent.contract.commands import INVALID_REQUEST, UNKNOWN_ID, CommandOutcome, Verb
from edge_agent.contract.envelope import Sender
from edge_agent.contract.inbound import CommandRequest
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.message import OutboxState
from edge_agent.inspecting.challenge import ChallengeGate
from edge_agent.inspecting.challenge_commands import ChallengeCommands
from edge_agent.inspecting.pause import Pause, PauseCommands
from edge_agent.observability.health import Health
from edge_agent.ports import Clock, Store, UnitOfWork

log = structlog.get_logger(__name__)


class BoxState:
    """The bodies of ``out/state``.

    Args:
        recipes: says ``id/version`` of all that are in use.
        pauses: station id to its pause.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        clock: Clock,
        store: Store,
        recipes: Callable[[], list[str]],
        pauses: Mapping[str, Pause],
        health: Health,
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._store = store
        self._recipes = recipes
        self._pauses = pauses
        self._health = health
        self._told = ""
        self._session_id = str(clock.new_id())
        self._boot_id = _boot_id()

    def body(self, online: bool) -> bytes:
        """True: the birth, and every change; False: the last will and the farewell."""
        state = payloads.State(
            online=online,
            session_id=self._session_id,
            boot_id=self._boot_id,
            version=self._sender.software_version,
            recipes=self._recipes(),
            **(self._at_work() if online else {}),
        )
        return outbound.state(state, sender=self._sender, clock=self._clock)

    @property
    def mode(self) -> str:
        """``paused``: all stations are; ``degraded``: a camera or the recording of results is away."""
        if self._pauses and all(pause.reason is not None for pause in self._pauses.values()):
            return "paused"
        return "degraded" if self._health.blocking() else "running"

    @property
    def has_changed(self) -> bool:
        """Is the mode another one than was last told?"""
        return self._told not in ("", self.mode)

    def _at_work(self) -> dict[str, Any]:
        self._told = self.mode
        return {
            "mode": self._told,
            "paused_stations": [station for station, pause in self._pauses.items() if pause.reason is not None],
            "capabilities": sorted(VERBS),
            **self._stored(),
        }

    def _stored(self) -> dict[str, Any]:
        """From the store, where it can be read: the birth does not wait for a disk."""
        try:
            with self._store.reader() as unit:
                pending, oldest = _backlog(unit, self._clock)
                heads = unit.audit.latest()
        except (Transient, ConfigError) as error:
            log.warning("the state is told without the store's part", error=str(error))
            return {}
        return {
            "outbox": payloads.OutboxFigures(pending=pending, oldest_age_s=oldest),
            "audit": payloads.AuditHead(seq=heads[0].seq, hash=heads[0].hash) if heads else None,
        }


class Questions:
    """The commands that change nothing on the line."""

    def __init__(self, *, sender: Sender, clock: Clock, health: Health, pauses: Mapping[str, Pause]) -> None:
        self._sender = sender
        self._clock = clock
        self._health = health
        self._pauses = pauses

    def ping(self, unit: UnitOfWork, request: CommandRequest) -> CommandOutcome:
        """Is anybody there? The answer went through the store: the whole way works."""
        result = {"version": self._sender.software_version, "at": payloads.stamp(self._clock.now())}
        return CommandOutcome(status="done", detail=f"{self._sender.agent} is here", result=result)

    def status(self, unit: UnitOfWork, request: CommandRequest) -> CommandOutcome:
        """Stations, components and the backlog."""
        pending, oldest = _backlog(unit, self._clock)
        components = {entry.component: entry for entry in self._health.board()}
        result = {
            "version": self._sender.software_version,
            "at": payloads.stamp(self._clock.now()),
            "stations": [
                {"id": station, "paused": pause.reason is not None, "why": pause.reason.text if pause.reason else None}
                for station, pause in self._pauses.items()
            ],
            "components": {
                name: {
                    "condition": entry.condition.value,
                    "detail": entry.detail,
                    "since": payloads.stamp(entry.since),
                    "acknowledged": entry.acknowledged or None,
                }
                for name, entry in components.items()
            },
            "outbox": payloads.OutboxFigures(pending=pending, oldest_age_s=oldest).to_json_object(),
        }
        return CommandOutcome(status="done", detail=self._health.worst().value, result=result)

    def ack(self, unit: UnitOfWork, request: CommandRequest) -> CommandOutcome:
        """Somebody has seen what is not well: noted with it until it changes."""
        try:
            args = inbound.args(payloads.AckArgs, request)
        except inbound.InvalidMessage as error:
            return CommandOutcome.rejected(INVALID_REQUEST, error.detail)
        alarms = [entry.component for entry in self._health.alarms()]
        if args.component is not None and args.component not in alarms:
            text = f"nothing is wrong with {args.component!r}; not well: {', '.join(alarms) or 'none'}"
            return CommandOutcome.rejected(UNKNOWN_ID, text)
        meant = alarms if args.component is None else [args.component]
        by = f"{request.requested_by or 'the plant'} at {payloads.stamp(self._clock.now())}"
        return CommandOutcome(
            status="done",
            detail=", ".join(meant) or "nothing to acknowledge",
            result={"acknowledged": meant},
            subjects=tuple(f"alarm:{component}" for component in meant),
            then=lambda: self._acknowledge(meant, by + (f": {args.note}" if args.note else "")),
        )

    def _acknowledge(self, components: list[str], by: str) -> None:
        for component in components:
            self._health.acknowledge(component, by)


VERBS = ("ack", "challenge", "config-reload", "pause", "ping", "recipe", "resume", "status")
"""The commands that every box acts upon; ``trigger`` is the trigger sources' own."""


def verbs(
    *,
    sender: Sender,
    clock: Clock,
    health: Health,
    pauses: Mapping[str, Pause],
    challenges: Mapping[str, ChallengeGate],
    changed: Callable[[], object],
    changes: Mapping[str, Verb],
) -> dict[str, Verb]:
    """The table of commands.

    Args:
        changed: called after a pause or its end.
        changes: the verbs of `bootstrap.changes`.
    """
    ask = Questions(sender=sender, clock=clock, health=health, pauses=pauses)
    control = PauseCommands(pauses, clock=clock, changed=changed)
    return {
        "pause": Verb(run=control.pause),
        "resume": Verb(run=control.resume),
        "ping": Verb(run=ask.ping, ages=False),
        "status": Verb(run=ask.status, ages=False),
        "ack": Verb(run=ask.ack),
        "challenge": Verb(run=ChallengeCommands(challenges, clock=clock).challenge),
        **changes,
    }


def _backlog(unit: UnitOfWork, clock: Clock) -> tuple[int, float | None]:
    """Messages that the plant has not got yet, and the age of the oldest one in seconds."""
    counts, oldest = unit.outbox.counts(), unit.outbox.oldest_pending()
    waiting = counts[OutboxState.PENDING] + counts[OutboxState.SENT]
    return waiting, None if oldest is None else round(max(0.0, (clock.now() - oldest).total_seconds()), 1)


def _boot_id() -> str | None:
    """The kernel's id of this boot: tells a restart of the agent from one of the box."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
