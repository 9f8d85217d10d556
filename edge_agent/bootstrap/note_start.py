"""What the agent has loaded, noted in the audit log at each start."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import structlog

from edge_agent import __version__
from edge_agent.bootstrap.parts import Parts
from edge_agent.domain.faults import Transient
from edge_agent.observability.health import Condition
from edge_agent.ports import UnitOfWork

log = structlog.get_logger(__name__)


def note_start(parts: Parts) -> None:
    """One entry for the start, one for each file, recipe and model whose content is another than the time before.

    A log that cannot be written does not stop the line; it is reported.
    """
    try:
        with parts.store.unit() as unit:
            head = _note(unit, parts)
            unit.commit()
    except Transient as error:
        parts.health.report("audit", Condition.DEGRADED, str(error), at=parts.clock.now())
        return
    log.info("start noted in the audit log", head=head)


def _note(unit: UnitOfWork, parts: Parts) -> str:
    agent = parts.configuration.plant.agent
    loaded = dict(_loaded(parts))
    for subject, after in loaded.items():
        before = next((entry.after for entry in unit.audit.latest(subject=subject)), "")
        if before != after:
            action = f"{subject.partition(':')[0]}.loaded"
            unit.audit.append(actor=agent, action=action, subject=subject, before=before, after=after)
    whole = hashlib.sha256(json.dumps(loaded, sort_keys=True).encode()).hexdigest()
    before = next((entry.after for entry in unit.audit.latest(subject=f"agent:{agent}")), "")
    started = unit.audit.append(
        actor=agent,
        action="agent.started",
        subject=f"agent:{agent}",
        before=before,
        after=whole,
        detail=f"edge-agent {__version__}, {len(loaded)} things loaded",
    )
    return f"{started.seq} {started.hash}"


def _loaded(parts: Parts) -> Iterator[tuple[str, str]]:
    """Subject and sha256."""
    configuration = parts.configuration
    catalogue = configuration.resolve(configuration.plant.diagnosis.catalogue)
    files = dict(configuration.files) | {str(catalogue): hashlib.sha256(catalogue.read_bytes()).hexdigest()}
    for file, sha256 in sorted(files.items()):
        yield f"configuration:{_named(Path(file), configuration.folder)}", sha256
    for station in parts.stations:
        for recipe in station.changeable.in_use.values():
            yield f"recipe:{recipe.ref.recipe_id}/{recipe.ref.version}", recipe.ref.sha256
        for detector in station.models.detectors.values():
            yield f"model:{detector.ref.name}/{detector.ref.version}", detector.ref.sha256


def _named(file: Path, folder: Path) -> str:
    """As the plant names it, not where it happens to lie."""
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else file.name
