"""Wiring of the watch for drift."""

from edge_agent.bootstrap.parts import OWN_MODELS, Parts, StationParts, models_folder
from edge_agent.learning.drift_watch import DriftWatch, WatchedStation
from edge_agent.learning.drifting import DriftSettings
from edge_agent.ports import Worker, WorkerSpec
from edge_agent.workers import Loop, row

_IDLE_S = 1.0


def drift_rows(parts: Parts) -> list[WorkerSpec]:
    """The worker that watches the stations; none where no station is watched."""
    if not any(station.station.config.drift.enabled for station in parts.stations):
        return []

    def build() -> Worker:
        watch = drift_watch(parts)
        return Loop(work=watch.step, begin=watch.begin, idle_s=_IDLE_S)

    return [row("drift", build, silence_s=120)]


def drift_watch(parts: Parts) -> DriftWatch:
    """The watch over all stations that have it configured."""
    from edge_agent.adapters.detectors.appearance import Appearance
    from edge_agent.adapters.detectors.catalogue import resolve
    from edge_agent.adapters.detectors.making_taught import NETWORK, feature_network

    models = models_folder(parts.configuration.plant)
    look = Appearance(lambda: feature_network(resolve(models, NETWORK, OWN_MODELS)))
    return DriftWatch(
        [_watched(station) for station in parts.stations if station.station.config.drift.enabled],
        store=parts.store,
        clock=parts.clock,
        sender=parts.sender,
        health=parts.health,
        features=look.features,
    )


def _watched(station: StationParts) -> WatchedStation:
    section = station.station.config.drift
    return WatchedStation(
        station_id=station.station.config.id,
        settings=DriftSettings(
            reference_parts=section.reference_parts,
            window_parts=section.window_parts,
            embed_every=section.embed_every or 1,
            false_alarms_per_1000=section.false_alarms_per_1000,
        ),
        glimpses=station.glimpses,
        is_free=lambda: station.channel.ledger.left == 0,
    )
