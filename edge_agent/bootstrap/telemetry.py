"""Wiring of what the plant's sensors say (in) and of what SCADA systems may see (Sparkplug B, out)."""

from dataclasses import dataclass

from edge_agent import __version__
from edge_agent.bootstrap.parts import Parts
from edge_agent.bootstrap.secrets import mqtt_password
from edge_agent.config.plant import SparkplugSignalSection, TelemetrySection
from edge_agent.contract.complaints import Complain
from edge_agent.contract.sparkplug.host import Source
from edge_agent.ports import Clock, PlantLink, Store, Worker, WorkerSpec
from edge_agent.responding.plant_records import PlantRecordsIntake, SignalSource
from edge_agent.responding.sparkplug_intake import SparkplugIntake
from edge_agent.workers import THEN_PAGES, row


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Both intakes, driven by one worker."""

    records: PlantRecordsIntake
    sparkplug: SparkplugIntake

    def step(self) -> bool:
        """Write a batch of samples; ask silent edge nodes for their births."""
        self.sparkplug.ask()
        return self.records.flush()


def subscribe_telemetry(
    section: TelemetrySection, link: PlantLink, *, store: Store, clock: Clock, complain: Complain
) -> Telemetry:
    """Hang the handlers of all signals and events on the link."""
    plain = {
        signal.topic: SignalSource(signal=name, path=signal.path)
        for name, signal in section.signals.items()
        if signal.topic is not None
    }
    rates = {name: signal.max_rate_hz for name, signal in section.signals.items()}
    records = PlantRecordsIntake(store=store, signals=plain, clock=clock, max_rate_hz=rates, complain=complain)
    for topic in plain:
        link.subscribe(topic, records.on_sample, qos=0, keep=False)
    if section.events_topic:
        link.subscribe(section.events_topic, records.on_event)

    def ask(topic: str, body: bytes) -> None:
        if link.status().connected:
            link.publish_state(body, f"/{topic}", retain=False)

    sparkplug = SparkplugIntake(
        signals={
            _source(signal.sparkplug): name for name, signal in section.signals.items() if signal.sparkplug is not None
        },
        accept=records.accept,
        clock=clock,
        publish=ask if section.sparkplug_rebirth else None,
        complain=complain,
    )
    for topic_filter in sparkplug.filters():
        link.subscribe(topic_filter, sparkplug.on_message, qos=1, keep=False)
    return Telemetry(records=records, sparkplug=sparkplug)


def sparkplug_rows(parts: Parts) -> list[WorkerSpec]:
    """The worker of the Sparkplug output, where it is configured."""
    section = parts.configuration.plant.sparkplug
    if section is None:
        return []

    def build() -> Worker:
        from edge_agent.adapters.link.sparkplug import SparkplugOut

        plant = parts.configuration.plant
        return SparkplugOut(
            section,
            plant.mqtt,
            agent=plant.agent,
            version=__version__,
            stations=[station.station.config.id for station in parts.stations],
            store=parts.store,
            clock=parts.clock,
            board=parts.health.board,
            report=lambda condition, detail: parts.health.report("sparkplug", condition, detail, at=parts.clock.now()),
            password=mqtt_password(parts.configuration, plant.mqtt),
        )

    return [row("sparkplug", build, silence_s=60, stop=THEN_PAGES)]


def _source(section: SparkplugSignalSection) -> Source:
    return Source(group=section.group, node=section.edge_node, device=section.device or "", metric=section.metric)
