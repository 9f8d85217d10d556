"""Configuration -> parts, wired and not yet running. Every part can be passed in (tests, demo)."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.detectors.signatures import ModelTrust
from edge_agent.bootstrap.adapters import ACTUATORS, CAMERAS, TRIGGERS, adapter
from edge_agent.bootstrap.box_state import BoxState
from edge_agent.bootstrap.challenges import load_gate, plan_of
from edge_agent.bootstrap.changes import Changeable, recall
from edge_agent.bootstrap.folders import Folders
from edge_agent.bootstrap.model_keeper import stand_ins
from edge_agent.bootstrap.secrets import mqtt_password, signatures, signing_key
from edge_agent.bootstrap.station_models import StationModels
from edge_agent.config import Configuration
from edge_agent.config.catalogue import load_catalogue, load_priority_table
from edge_agent.config.load import Station
from edge_agent.config.plant import AnalystOptions, PlantFile
from edge_agent.config.plant_codes import plant_codes
from edge_agent.config.stations import DetectorOptions, StationConfig
from edge_agent.contract import outbound
from edge_agent.contract.complaints import Complaints
from edge_agent.contract.envelope import Sender
from edge_agent.contract.signed import Signatures
from edge_agent.contract.topics import topic_root
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.frame import Glimpse
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.message import OutboundMessage
from edge_agent.domain.part import Shot
from edge_agent.domain.plant_codes import PlantCodes
from edge_agent.domain.promotion import PromotionState
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.answering import Answering
from edge_agent.inspecting.challenge import ChallengeGate
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.in_use import RecipesInUse
from edge_agent.inspecting.inspector import Inspector
from edge_agent.inspecting.pause import CODE as PAUSED
from edge_agent.inspecting.pause import Pause, load_pause
from edge_agent.inspecting.promoting import in_force, promotions
from edge_agent.inspecting.record import Recorder
from edge_agent.inspecting.shadowing import Shadow
from edge_agent.observability.health import Health
from edge_agent.ports import (
    Actuator,
    Analyst,
    Camera,
    Clock,
    Detector,
    DocumentPrinter,
    ImageStore,
    PlantLink,
    Store,
    TriggerSource,
)
from edge_agent.runtime.channel import Channel
from edge_agent.runtime.sampler import Sampler
from edge_agent.signing.trust import TrustedKeys

_PROJECT = Path(__file__).resolve().parents[2]
OWN_MODELS = _PROJECT / "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What is done about messages that are not to be believed, or not to be understood."""

    signatures: Signatures
    complaints: Complaints


@dataclass(frozen=True, slots=True, kw_only=True)
class StationParts:
    """One station, wired."""

    station: Station
    camera: Camera
    trigger: TriggerSource
    channel: Channel[Shot]
    inspector: Inspector
    answering: Answering
    models: StationModels
    shadow: Shadow
    glimpses: Sampler[Glimpse]
    changeable: Changeable


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The whole agent, wired and not yet running."""

    configuration: Configuration
    clock: Clock
    folders: Folders
    store: Store
    images: ImageStore
    link: PlantLink
    box_state: BoxState
    pauses: Mapping[str, Pause]
    challenges: Mapping[str, ChallengeGate]
    sender: Sender
    doubts: Doubts
    web_port: int
    health: Health
    catalogue: Catalogue
    priority_table: Any
    analyst: Analyst | None
    printer: DocumentPrinter
    stations: tuple[StationParts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stations:
    """Parts of stations that are passed in instead of being made from the configuration, by station id."""

    cameras: Mapping[str, Camera] = field(default_factory=dict)
    triggers: Mapping[str, TriggerSource] = field(default_factory=dict)
    actuators: Mapping[str, list[Actuator]] = field(default_factory=dict)


def build(
    configuration: Configuration,
    *,
    clock: Clock | None = None,
    link: PlantLink | None = None,
    given: Stations | None = None,
) -> Parts:
    """Wire everything; nothing is started, models are loaded and warmed up.

    Raises:
        ConfigError: something that was configured cannot be had.
    """
    plant = configuration.plant
    time = clock or SystemClock()
    health = Health()
    folders = Folders.of(plant)
    catalogue = load_catalogue(configuration.resolve(plant.diagnosis.catalogue))
    store = _store(plant, folders, time)
    images = _images(plant, folders, time)
    web_port = _web_port(plant)
    sender = _sender(plant, web_port, plant_codes(configuration, catalogue))
    doubts = Doubts(
        signatures=signatures(configuration, plant.security),
        complaints=Complaints(store=store, sender=sender, clock=time),
    )
    pauses, in_use = _pauses(configuration, store), _recipes(configuration, store)
    challenges = _challenges(configuration, store, time)
    box_state = BoxState(
        sender=sender, clock=time, store=store, recipes=partial(_told, in_use), pauses=pauses, health=health
    )
    plant_link = link or _link(configuration, sender, store, time, box_state, folders)
    recorder = Recorder(
        store=store,
        images=images,
        announce=_announcer(sender, catalogue, time),
        keep_ok_share=plant.retention.keep_ok_share,
    )
    return Parts(
        configuration=configuration,
        clock=time,
        folders=folders,
        store=store,
        images=images,
        link=plant_link,
        box_state=box_state,
        pauses=pauses,
        challenges=challenges,
        sender=sender,
        doubts=doubts,
        web_port=web_port,
        health=health,
        catalogue=catalogue,
        priority_table=_priority_table(configuration),
        analyst=_analyst(configuration, folders, time),
        printer=_printer(configuration, time),
        stations=tuple(
            _station(
                station,
                configuration,
                folders,
                recorder,
                store,
                health,
                time,
                plant_link,
                doubts,
                given or Stations(),
                pauses[station.config.id],
                in_use[station.config.id],
                challenges.get(station.config.id),
            )
            for station in configuration.stations
        ),
    )


def models_folder(plant: PlantFile) -> Path:
    """The configured models folder, or the product's own."""
    return plant.models_dir or OWN_MODELS


def goldens() -> Goldens:
    """Golden images read with the same care as the parts' images."""
    from edge_agent.adapters.cameras.image_file import read_image

    return Goldens(read_image)


def taught_models(folders: Folders) -> Path:
    """Models taught on this box: searched after the models folder."""
    return folders.state / "models"


def detector(models: Path, name: str, options: Any, clock: Clock, *more: Path) -> Detector:
    """A detector by the recipe's model name, loaded, verified and warmed up.

    Args:
        more: folders that are searched after ``models``.
    """
    from edge_agent.adapters.detectors.catalogue import resolve

    return loaded(resolve(models, name, *more), options, clock)


def loaded(folder: Path, options: DetectorOptions, clock: Clock) -> Detector:
    """The detector of a model's folder, loaded, verified and warmed up."""
    from edge_agent.adapters.detectors.opening import open_detector

    made = open_detector(folder, options, clock=clock)
    made.warm_up()
    return made


def model_trust(configuration: Configuration) -> ModelTrust:
    """Whose models are used. Raises ConfigError: a key file cannot be used."""
    security = configuration.plant.security
    files = {name: configuration.resolve(path) for name, path in security.model_keys.items()}
    return ModelTrust(keys=TrustedKeys(files), demanded=security.signed_models)


def _station(
    station: Station,
    configuration: Configuration,
    folders: Folders,
    recorder: Recorder,
    store: Store,
    health: Health,
    clock: Clock,
    link: PlantLink,
    doubts: Doubts,
    given: Stations,
    pause: Pause,
    in_use: RecipesInUse,
    challenge: ChallengeGate | None,
) -> StationParts:
    config = station.config
    camera: Camera = given.cameras.get(config.id) or adapter(CAMERAS, config.camera.kind)(
        config.camera, camera_id=config.id, clock=clock
    )
    actuators: list[Actuator] = given.actuators.get(config.id) or [
        adapter(ACTUATORS, options.kind)(options, station_id=config.id, clock=clock) for options in config.actuators
    ]
    glimpses: Sampler[Glimpse] = Sampler(config.drift.embed_every if config.drift.enabled else 0)
    answering = Answering(
        station_id=config.id,
        recorder=recorder,
        actuators=actuators,
        health=health,
        clock=clock,
        pause=pause,
        every_shot=config.mode == "triggered",
        glimpses=glimpses,
        challenge=challenge,
    )
    trigger = given.triggers.get(config.id) or _trigger(config, camera, folders, clock, link, answering, doubts)
    references = goldens()
    models = StationModels(
        recipes=in_use,
        folders=(models_folder(configuration.plant), taught_models(folders)),
        trusted=model_trust(configuration).check,
        load=lambda folder: loaded(folder, config.detector, clock),
        goldens=references,
    )
    _start_models(models, config.id, store, pause)
    channel: Channel[Shot] = Channel(config.queue, when_full="refuse" if config.mode == "triggered" else "drop")
    inspector = Inspector(
        camera=camera,
        recipes=in_use,
        detectors=models.detectors,
        goldens=references,
        clock=clock,
        cycle_ms=config.cycle_ms,
        grab_timeout_s=config.cycle_ms / 1_000,
    )
    return StationParts(
        station=station,
        camera=camera,
        trigger=trigger,
        channel=channel,
        inspector=inspector,
        answering=answering,
        models=models,
        glimpses=glimpses,
        shadow=Shadow(
            station_id=config.id, queue=config.shadow.queue, line=channel, store=store, health=health, clock=clock
        ),
        changeable=Changeable(station=station, in_use=in_use, fit=models.fit),
    )


def _start_models(models: StationModels, station_id: str, store: Store, pause: Pause) -> None:
    """Load what the station needs. Without a model that was promoted, a person resumes it or goes back.

    Raises:
        ConfigError: a model that the recipes name themselves cannot be had.
    """
    try:
        with store.reader() as unit:
            taken = [one for one in promotions(unit, station_id) if one.state is not PromotionState.ASKED]
        models.start(stand_ins(models, in_force(taken)))
    except ConfigError as error:
        models.start({})
        pause.set(Reason(code=PAUSED, text=f"the model that was promoted cannot be had: {error}"))


def _trigger(
    config: StationConfig,
    camera: Camera,
    folders: Folders,
    clock: Clock,
    link: PlantLink,
    answering: Answering,
    doubts: Doubts,
) -> TriggerSource:
    more: dict[str, Any] = {}
    if config.trigger.kind == "mqtt":
        more["remember"] = answering.remember
        more |= {"signatures": doubts.signatures, "complain": doubts.complaints.write}
    if config.trigger.kind in ("modbus", "opcua"):
        more |= {"owes": answering.owes, "recipes": frozenset(config.recipes)}
    if config.trigger.kind == "camera":
        more["await_frame"] = getattr(camera, "await_frame", None)
    if config.trigger.kind == "folder":
        from edge_agent.adapters.triggers.folder import SeenOnDisk

        more["seen"] = SeenOnDisk(folders.state / f"seen-{config.id}.jsonl")
        # File name and time are never used again.
        more["remember"] = partial(answering.remember, once_within=timedelta(days=365))
    trigger: TriggerSource = adapter(TRIGGERS, config.trigger.kind)(
        config.trigger, station_id=config.id, strata=config.strata, clock=clock, link=link, **more
    )
    return trigger


def _announcer(sender: Sender, catalogue: Catalogue, clock: Clock) -> Any:
    def announce(inspection: Inspection) -> list[OutboundMessage]:
        found = outbound.defects(inspection, sender=sender, clock=clock, severity=catalogue.severity)
        return [outbound.result(inspection, sender=sender, clock=clock), *found]

    return announce


def _web_port(plant: PlantFile) -> int:
    """The page's port. Chosen now where any will do, because the links in messages name it."""
    if plant.web.port or not plant.web.enabled:
        return plant.web.port
    family = socket.AF_INET6 if ":" in plant.web.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((plant.web.host, 0))
        return int(probe.getsockname()[1])


def _sender(plant: PlantFile, web_port: int, codes: PlantCodes) -> Sender:
    root = topic_root(**plant.plant.model_dump(), agent=plant.agent)
    host = f"[{plant.web.host}]" if ":" in plant.web.host else plant.web.host
    base = f"http://{host}:{web_port}"
    return Sender(agent=plant.agent, topic_root=root, uri_base=base, software_version=__version__, codes=codes)


def store_url(plant: PlantFile, folders: Folders) -> str:
    """The configured database, or the default file in the state folder."""
    from edge_agent.adapters.store.database import sqlite_url

    return plant.store.url or sqlite_url(folders.state)


def _store(plant: PlantFile, folders: Folders, clock: Clock) -> Store:
    from edge_agent.adapters.store.database import Database

    store = Database(store_url(plant, folders), clock=clock)
    store.migrate()
    return store


def _images(plant: PlantFile, folders: Folders, clock: Clock) -> ImageStore:
    from edge_agent.adapters.images.folder import FolderImages

    return FolderImages(folders.images, plant.retention, clock=clock)


def _pauses(configuration: Configuration, store: Store) -> dict[str, Pause]:
    with store.reader() as unit:
        pauses = {station.config.id: load_pause(unit, station.config.id) for station in configuration.stations}
        for station in configuration.stations:
            _, wrong = recall(unit, configuration, station)
            if wrong:  # with which limits, nobody has said: a person resumes the station, or chooses again
                pauses[station.config.id].set(Reason(code=PAUSED, text=wrong))
    return pauses


def _challenges(configuration: Configuration, store: Store, clock: Clock) -> dict[str, ChallengeGate]:
    plant = configuration.plant
    with store.reader() as unit:
        return {
            config.id: load_gate(unit, config.id, plan_of(config.challenge, plant.reports), clock=clock)
            for config in (station.config for station in configuration.stations)
            if config.challenge is not None
        }


def _recipes(configuration: Configuration, store: Store) -> dict[str, RecipesInUse]:
    with store.reader() as unit:
        return {
            station.config.id: RecipesInUse(recall(unit, configuration, station)[0])
            for station in configuration.stations
        }


def _told(in_use: Mapping[str, RecipesInUse]) -> list[str]:
    return sorted(f"{one.ref.recipe_id}/{one.ref.version}" for station in in_use.values() for one in station.values())


def _link(
    configuration: Configuration,
    sender: Sender,
    store: Store,
    clock: Clock,
    box_state: BoxState,
    folders: Folders,
) -> PlantLink:
    from edge_agent.adapters.link.mqtt import MqttLink
    from edge_agent.adapters.link.quota import limit_bytes

    plant = configuration.plant
    return MqttLink(
        plant.mqtt,
        agent=plant.agent,
        topic_root=sender.topic_root,
        store=store,
        clock=clock,
        state_body=box_state.body,
        password=mqtt_password(configuration, plant.mqtt),
        quota_bytes=limit_bytes(plant.mqtt, None if plant.store.url else folders.state),
        canary=_tries_rules(plant),
        signing_key=signing_key(configuration, plant.security),
    )


def _tries_rules(plant: PlantFile) -> bool:
    """Whether the broker's access rules are tried: where the plant says so, else where a certificate names the box."""
    chosen = plant.security.acl_canary
    return chosen if chosen is not None else plant.mqtt.tls is not None and plant.mqtt.tls.cert_file is not None


def _analyst(configuration: Configuration, folders: Folders, clock: Clock) -> Analyst | None:
    options: AnalystOptions = configuration.plant.analyst
    match options.kind:
        case "none":
            return None
        case "local":
            from edge_agent.adapters.analysts.local import LocalAnalyst

            found = options.model_copy(
                update={
                    "model": configuration.resolve(options.model),
                    "adapter": options.adapter and configuration.resolve(options.adapter),
                }
            )
            return LocalAnalyst(found, clock=clock, state_dir=folders.state)
        case "server":
            from edge_agent.adapters.analysts.server import ServerAnalyst

            return ServerAnalyst(options)


def _printer(configuration: Configuration, clock: Clock) -> DocumentPrinter:
    from edge_agent.adapters.documents.weasy import WeasyPrinter, default_templates

    chosen = configuration.plant.reports.templates
    return WeasyPrinter(configuration.resolve(chosen) if chosen else default_templates(), clock=clock)


def _priority_table(configuration: Configuration) -> Any:
    chosen = configuration.plant.diagnosis.priority_table
    return load_priority_table(configuration.resolve(chosen) if chosen else None)
