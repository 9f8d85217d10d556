"""Parts -> the table of workers and the table of timed jobs."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from edge_agent import __version__
from edge_agent.adapters.link.commands import CommandHandler
from edge_agent.adapters.link.inbox import InboxHandlers
from edge_agent.bootstrap.alarms import AlarmWatch
from edge_agent.bootstrap.box_state import verbs
from edge_agent.bootstrap.challenges import ChallengeWatch
from edge_agent.bootstrap.changes import Changes
from edge_agent.bootstrap.describer import describer_rows
from edge_agent.bootstrap.drift import drift_rows
from edge_agent.bootstrap.housekeeping import Housekeeping
from edge_agent.bootstrap.model_keeper import ModelKeeper, shadow_process
from edge_agent.bootstrap.own_process import DEADLINE_S, FIT_DEADLINE_S, START_S, DiagnosisProcess, FittingProcess
from edge_agent.bootstrap.parts import Parts, StationParts, store_url
from edge_agent.bootstrap.plant_metrics import EVERY, PlantMetrics
from edge_agent.bootstrap.telemetry import Telemetry, sparkplug_rows, subscribe_telemetry
from edge_agent.contract import topics
from edge_agent.contract.complaints import Complaints
from edge_agent.domain.promotion import WatchRules
from edge_agent.inspecting.promoting import named
from edge_agent.inspecting.station import InspectionWorker, TriggerWorker
from edge_agent.learning.learner import Learner
from edge_agent.observability.health import Condition
from edge_agent.ports import Analyst, PlantLink, Worker, WorkerSpec
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.printing import DocumentMaker, request_shift_report
from edge_agent.responding.narrate import Narrator
from edge_agent.responding.order import add_narrative
from edge_agent.responding.responder import Responder
from edge_agent.responding.settings import settings_of
from edge_agent.runtime.memory import give_back
from edge_agent.schedule import Job, Schedule, daily_at, every
from edge_agent.web.app import build_app
from edge_agent.web.server import WebServer
from edge_agent.web.status import Component, StationModel, Status
from edge_agent.workers import (
    FIRST_TRIGGERS,
    LINK_LAST,
    THEN_INSPECTION,
    THEN_PAGES,
    LinkWorker,
    Loop,
    row,
)

MODEL_LOADED_S = 600
"""Loading a model may take long where an engine is built for it first."""


def table(parts: Parts, *, is_alive: Callable[[], bool] = lambda: True) -> list[WorkerSpec]:
    """Every worker of the agent; subscriptions are made here, before the link starts.

    Args:
        is_alive: the watchdog's opinion, for /healthz.
    """
    intake = subscribe(parts, parts.link)
    stations = [spec for station in parts.stations for spec in _station_rows(parts, station)]
    plant = parts.configuration.plant
    diagnosis, fitting = diagnosis_process(parts), FittingProcess()
    rows = [
        *stations,
        row(
            "respond",
            lambda: Loop(work=responder(parts, diagnosis).step, end=diagnosis.close),
            silence_s=DEADLINE_S + START_S + 60,
            interrupt=diagnosis.close,
        ),
        row(
            "learn",
            lambda: Loop(work=learner(parts, fitting).step, end=fitting.close),
            silence_s=FIT_DEADLINE_S + START_S + 60,
            interrupt=fitting.close,
        ),
        row("plant records", lambda: Loop(work=intake.step), silence_s=30),
        row(
            "documents",
            lambda: document_maker(parts),
            silence_s=3 * plant.reports.deadline_s + 30,
            interrupt=parts.printer.close,
        ),
        row("schedule", lambda: Schedule(jobs(parts), threading.Event().wait), silence_s=30),
        row("link", lambda: LinkWorker(parts.link, parts.health, parts.clock), silence_s=60, stop=LINK_LAST),
    ]
    if parts.analyst is not None and plant.analyst.kind != "none":
        silence_s = 3 * plant.analyst.deadline_s + 120
        stopping = threading.Event()
        rows.append(
            row(
                "write",
                lambda: _writing(narrator(parts, stopping.is_set)),
                silence_s=silence_s,
                interrupt=partial(_cut_short, parts.analyst, stopping),
            )
        )
    rows += sparkplug_rows(parts)
    rows += drift_rows(parts)
    rows += describer_rows(parts)
    if plant.web.enabled:
        rows.append(row("web", lambda: web_server(parts, is_alive), silence_s=30, stop=THEN_PAGES))
    return rows


def _cut_short(analyst: Analyst, stopping: threading.Event) -> None:
    """End the note that is being written: first the reason, so that the writer does not take it for a failure."""
    stopping.set()
    analyst.close()


def _writing(writer: Narrator) -> Worker:
    return Loop(work=writer.step, begin=writer.warm_up, idle_s=1.0)


def _station_rows(parts: Parts, station: StationParts) -> list[WorkerSpec]:
    config = station.station.config
    waiting = max(60.0, 3 * config.cycle_ms / 1_000)

    def trigger() -> Worker:
        return TriggerWorker(
            source=station.trigger,
            channel=station.channel,
            inspector=station.inspector,
            answering=station.answering,
            health=parts.health,
            clock=parts.clock,
        )

    def inspection() -> Worker:
        return InspectionWorker(
            station_id=config.id,
            camera=station.camera,
            channel=station.channel,
            inspector=station.inspector,
            answering=station.answering,
            health=parts.health,
            clock=parts.clock,
            afterwards=station.shadow.offer,
        )

    def keeping() -> Worker:
        keeper = model_keeper(parts, station)
        return Loop(work=keeper.step, begin=keeper.report, idle_s=1.0)

    shadow = station.shadow
    return [
        row(f"trigger {config.id}", trigger, silence_s=30, stop=FIRST_TRIGGERS),
        row(f"inspect {config.id}", inspection, silence_s=waiting, stop=THEN_INSPECTION, needed=True),
        row(
            f"shadow {config.id}",
            lambda: Loop(work=shadow.step, end=shadow.close),
            silence_s=config.shadow.deadline_s + START_S + 60,
            interrupt=shadow.close,
        ),
        row(f"models {config.id}", keeping, silence_s=MODEL_LOADED_S),
    ]


def model_keeper(parts: Parts, station: StationParts) -> ModelKeeper:
    """Follows which model shall stand where at a station."""
    config = station.station.config
    return ModelKeeper(
        station_id=config.id,
        cycle_ms=config.cycle_ms,
        models=station.models,
        shadow=station.shadow,
        options=config.shadow,
        second=shadow_process(station.models, config.shadow, config.id),
        pause=parts.pauses[config.id],
        store=parts.store,
        clock=parts.clock,
        health=parts.health,
        sender=parts.sender,
        rules=WatchRules(**parts.configuration.plant.models.watch.model_dump()),
    )


def diagnosis_process(parts: Parts) -> DiagnosisProcess:
    """Where the responder's steps are worked out; not started yet."""
    return DiagnosisProcess(
        store_url=store_url(parts.configuration.plant, parts.folders),
        catalogue=parts.catalogue,
        settings=settings_of(parts.configuration),
    )


def responder(parts: Parts, diagnosis: DiagnosisProcess) -> Responder:
    """From defects to incidents, analyses and orders."""
    return Responder(
        store=parts.store,
        clock=parts.clock,
        catalogue=parts.catalogue,
        priority_table=parts.priority_table,
        settings=settings_of(parts.configuration),
        sender=parts.sender,
        elsewhere=diagnosis.work_out,
        on_condition=lambda condition, detail: parts.health.report(
            "diagnosis", condition, detail, at=parts.clock.now()
        ),
    )


def learner(parts: Parts, fitting: FittingProcess) -> Learner:
    """From the plant's answers to confirmed cases."""
    return Learner(
        store=parts.store,
        clock=parts.clock,
        catalogue=parts.catalogue,
        sender=parts.sender,
        fit=fitting.refit,
    )


def narrator(parts: Parts, is_stopping: Callable[[], bool] = lambda: False) -> Narrator:
    """The language model's notes."""
    analyst = parts.configuration.plant.analyst
    assert parts.analyst is not None  # the row exists only with an analyst
    assert analyst.kind != "none"
    return Narrator(
        parts.store,
        parts.clock,
        parts.analyst,
        parts.catalogue,
        deadline_s=analyst.deadline_s,
        max_tokens=analyst.max_tokens,
        add_narrative=partial(add_narrative, sender=parts.sender, clock=parts.clock),
        on_condition=lambda condition, detail: parts.health.report(
            "language model", condition, detail, at=parts.clock.now()
        ),
        is_stopping=is_stopping,
    )


def document_maker(parts: Parts) -> DocumentMaker:
    """Sheets and reports."""
    return DocumentMaker(
        store=parts.store,
        clock=parts.clock,
        printer=parts.printer,
        images=parts.images,
        folder=parts.folders.documents,
        sender=parts.sender,
        catalogue=parts.catalogue,
        letterhead=letterhead(parts),
        shift_ends=parts.configuration.plant.reports.shift_ends,
        deadline_s=parts.configuration.plant.reports.deadline_s,
    )


def web_server(parts: Parts, is_alive: Callable[[], bool]) -> WebServer:
    """The operator pages and /metrics."""
    app = build_app(
        store=parts.store,
        images=parts.images,
        images_dir=parts.folders.images,
        documents_dir=parts.folders.documents,
        status=lambda: status(parts, is_alive()),
        clock=parts.clock,
        letterhead=letterhead(parts),
        catalogue=parts.catalogue,
    )
    return WebServer(app, parts.configuration.plant.web.host, parts.web_port)


def status(parts: Parts, alive: bool) -> Status:
    """What the pages say about the box."""
    board = parts.health.board()
    conditions = {entry.component: entry.condition for entry in board}
    cameras = [conditions.get(f"camera:{station.station.config.id}") for station in parts.stations]
    return Status(
        alive=alive,
        ready=all(condition is Condition.OK for condition in cameras)
        and not parts.health.blocking()
        and all(pause.reason is None for pause in parts.pauses.values()),
        components=[
            Component(
                component=entry.component,
                condition=entry.condition.value,
                detail=entry.detail,
                since=entry.since.isoformat(),
            )
            for entry in board
        ],
        models=[station_model(station) for station in parts.stations],
    )


def station_model(station: StationParts) -> StationModel:
    """Which models are at work at a station."""
    models, shadow = station.models, station.shadow
    candidate = shadow.candidate
    return StationModel(
        station=station.station.config.id,
        live=", ".join(named(models.live(word)) for word in models.words),
        shadow=candidate.ref if candidate else None,
        missed=shadow.dropped if candidate else 0,
    )


def letterhead(parts: Parts) -> Letterhead:
    """Who prints."""
    plant = parts.configuration.plant
    return Letterhead(
        plant=" / ".join(plant.plant.model_dump().values()),
        agent=plant.agent,
        software=f"edge-agent {__version__}",
        timezone=ZoneInfo(plant.reports.timezone),
    )


def subscribe(parts: Parts, link: PlantLink) -> Telemetry:
    """Hang every handler on the link; the trigger adapters have hung theirs already."""
    plant = parts.configuration.plant
    inbox = InboxHandlers(parts.store, parts.clock, parts.sender)
    root = parts.sender.topic_root
    link.subscribe(topics.under(root, topics.RESPONSES), inbox.on_response)
    link.subscribe(topics.under(root, topics.RECEIPT), inbox.on_receipt)
    mes = topics.mes_state(enterprise=plant.plant.enterprise, site=plant.plant.site)
    link.subscribe(mes, inbox.on_mes_state)
    report_pauses(parts)
    commands = CommandHandler(
        parts.store,
        parts.clock,
        parts.sender,
        verbs(
            sender=parts.sender,
            clock=parts.clock,
            health=parts.health,
            pauses=parts.pauses,
            challenges=parts.challenges,
            changed=lambda: note_pauses(parts),
            changes=Changes(
                parts.configuration,
                {station.station.config.id: station.changeable for station in parts.stations},
                changed=lambda: tell_state(parts),
            ).verbs(),
        ),
        elsewhere=triggered_by_command(parts),
        reply_topics=plant.security.reply_topics,
        signatures=parts.doubts.signatures,
    )
    link.subscribe(topics.under(root, topics.COMMANDS), commands.on_command)
    # Of its own: sensors that talk nonsense must not use up what can be said of commands and triggers.
    complaints = Complaints(store=parts.store, sender=parts.sender, clock=parts.clock)
    return subscribe_telemetry(plant.telemetry, link, store=parts.store, clock=parts.clock, complain=complaints.write)


def triggered_by_command(parts: Parts) -> set[str]:
    """Verbs below ``in/cmd/`` that a station's trigger source takes for itself."""
    root = topics.under(parts.sender.topic_root, topics.command(""))
    options = [station.station.config.trigger for station in parts.stations]
    own = [option.topic for option in options if option.kind == "mqtt"]
    absolute = [topic[1:] if topic.startswith("/") else topics.under(parts.sender.topic_root, topic) for topic in own]
    return {topic.removeprefix(root) for topic in absolute if topic.startswith(root)}


def report_pauses(parts: Parts) -> None:
    """Show on the health board which stations are paused."""
    for station, pause in parts.pauses.items():
        condition = Condition.OK if pause.reason is None else Condition.DEGRADED
        detail = pause.reason.text if pause.reason else "at work"
        parts.health.report(f"station:{station}", condition, detail, at=parts.clock.now())


def note_pauses(parts: Parts) -> None:
    """After a pause or its end: the health board and the plant are told."""
    report_pauses(parts)
    tell_state(parts)


def tell_state(parts: Parts) -> None:
    """Say again how the box is, retained, on ``out/state``."""
    parts.link.publish_state(parts.box_state.body(True), topics.STATE, qos=1)


def tell_changed_state(parts: Parts) -> None:
    """Say so when the mode is another one than was said last, e.g. because a camera went away or came back."""
    if parts.box_state.has_changed:
        tell_state(parts)


def jobs(parts: Parts) -> list[Job]:
    """What is done by the clock."""
    plant = parts.configuration.plant
    house = Housekeeping(
        store=parts.store,
        images=parts.images,
        retention=plant.retention,
        telemetry_days=plant.telemetry.retention_days,
        state=parts.folders.state,
        health=parts.health,
        clock=parts.clock,
    )
    figures = PlantMetrics(
        store=parts.store,
        link=parts.link,
        stations=[station.station.config.id for station in parts.stations],
        state=parts.folders.state,
        clock=parts.clock,
    )
    alarms = AlarmWatch(link=parts.link, store=parts.store, sender=parts.sender, health=parts.health, clock=parts.clock)
    challenges = ChallengeWatch(
        parts.challenges, store=parts.store, sender=parts.sender, health=parts.health, clock=parts.clock
    )
    shift_ends = [
        Job(name=f"shift report {at}", when=when, run=lambda: ask_for_shift_report(parts))
        for at, when in zip(
            plant.reports.shift_ends, daily_at(plant.reports.shift_ends, plant.reports.timezone), strict=True
        )
    ]
    return [
        *shift_ends,
        Job(name="plant metrics", when=every(EVERY), run=figures.publish),
        Job(name="state", when=every(timedelta(hours=1)), run=lambda: tell_state(parts)),
        Job(name="changed state", when=every(timedelta(seconds=1)), run=lambda: tell_changed_state(parts)),
        Job(name="challenges", when=every(timedelta(seconds=1)), run=challenges.look),
        Job(name="alarms", when=every(timedelta(seconds=5)), run=alarms.look),
        Job(name="gauges", when=every(timedelta(seconds=5)), run=house.measure),
        Job(name="expire messages", when=every(timedelta(minutes=1)), run=house.expire_messages),
        Job(name="memory", when=every(timedelta(minutes=1)), run=give_back),
        Job(name="retention", when=every(timedelta(minutes=10)), run=house.prune),
    ]


def ask_for_shift_report(parts: Parts) -> None:
    """Request the report on the shift that has just ended."""
    plant = parts.configuration.plant
    end = parts.clock.now()
    start = end - shift_length(plant.reports.shift_ends, end, ZoneInfo(plant.reports.timezone))
    with parts.store.unit() as unit:
        request_shift_report(unit, start, end)
        unit.commit()


def shift_length(shift_ends: list[str], end: datetime, zone: ZoneInfo) -> timedelta:
    """How long the shift that ends at ``end`` (within a minute) was; 24 hours where only one end is configured."""
    local = end.astimezone(zone)
    minutes = sorted(int(text[:2]) * 60 + int(text[3:]) for text in shift_ends)
    now = local.hour * 60 + local.minute
    before = [now - minute for minute in minutes if now - minute > 1]
    length = min(before, default=now + 24 * 60 - max(minutes, default=now))
    return timedelta(minutes=length)


__all__ = ["ask_for_shift_report", "jobs", "shift_length", "subscribe", "table"]
