"""Wiring of the model that describes pictures."""

import threading
from collections.abc import Callable
from pathlib import Path

from edge_agent.bootstrap.parts import Parts
from edge_agent.config.plant import LocalAnalystOptions, LocalDescriberOptions, ServerAnalystOptions
from edge_agent.ports import Analyst, WorkerSpec
from edge_agent.responding.describing import MAX_TOKENS, Describer
from edge_agent.workers import Loop, row

_IDLE_S = 1.0
STATE_FOLDER = "describer"
"""Its own, below the state folder: the trials of another model are another file."""


def describer_rows(parts: Parts) -> list[WorkerSpec]:
    """The worker, where a model is configured."""
    options = parts.configuration.plant.diagnosis.describer
    if options.kind == "none":
        return []
    model, stopping = describing_model(parts), threading.Event()

    def cut_short() -> None:
        stopping.set()
        model.close()

    return [
        row(
            "describe",
            lambda: Loop(work=describer(parts, model, stopping.is_set).step, idle_s=_IDLE_S),
            silence_s=options.crops * options.deadline_s + 120,
            interrupt=cut_short,
        )
    ]


def describer(parts: Parts, model: Analyst, is_stopping: Callable[[], bool] = lambda: False) -> Describer:
    """Describes the newest incident's pictures."""
    options = parts.configuration.plant.diagnosis.describer
    assert options.kind != "none"  # the row exists only with a model
    return Describer(
        store=parts.store,
        images=parts.images,
        clock=parts.clock,
        model=model,
        catalogue=parts.catalogue,
        crops=options.crops,
        deadline_s=options.deadline_s,
        on_condition=lambda condition, detail: parts.health.report(
            "describer", condition, detail, at=parts.clock.now()
        ),
        is_stopping=is_stopping,
    )


def describing_model(parts: Parts) -> Analyst:
    """The configured model; nothing is loaded yet."""
    options = parts.configuration.plant.diagnosis.describer
    if options.kind == "server":
        from edge_agent.adapters.analysts.server import ServerAnalyst

        return ServerAnalyst(
            ServerAnalystOptions(
                kind="server",
                url=options.url,
                model=options.model,
                api_key_credential=options.api_key_credential,
                deadline_s=options.deadline_s,
                max_tokens=MAX_TOKENS,
            )
        )
    assert isinstance(options, LocalDescriberOptions)
    return _local(parts, options)


def _local(parts: Parts, options: LocalDescriberOptions) -> Analyst:
    from edge_agent.adapters.analysts.local import LocalAnalyst

    def found(path: Path) -> Path:
        return parts.configuration.resolve(path)

    folder = parts.folders.state / STATE_FOLDER
    folder.mkdir(exist_ok=True)
    return LocalAnalyst(
        LocalAnalystOptions(
            kind="local",
            backend=options.backend,
            model=found(options.model),
            threads=options.threads,
            context_tokens=options.context_tokens,
            deadline_s=options.deadline_s,
            max_tokens=MAX_TOKENS,
        ),
        clock=parts.clock,
        state_dir=folder,
        projector=found(options.projector),
    )
