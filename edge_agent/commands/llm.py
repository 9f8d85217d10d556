"""``edge-agent llm``: what a language model is worth here."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.adapters.analysts.local import LocalAnalyst
from edge_agent.adapters.analysts.server import ServerAnalyst
from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.store.database import Database
from edge_agent.commands.stored import Config, State, open_store, person
from edge_agent.config.catalogue import load_catalogue
from edge_agent.config.plant import LocalAnalystOptions, ServerAnalystOptions
from edge_agent.domain.faults import ConfigError
from edge_agent.observability import logs
from edge_agent.ports import Analyst
from edge_agent.responding.qualification import PROMPTS, qualified_key, record
from edge_agent.simulation.exam.marks import MARKS, Mark, figures, passed
from edge_agent.simulation.exam.sitting import SERIES, Paper, Sitting

app = typer.Typer(no_args_is_help=True)

DEFAULT = "default"
_ROOT = Path(__file__).resolve().parents[2]
DEFAULT_MODEL = _ROOT / ".cache" / "models" / "smollm2-135m-instruct-q4.gguf"
CATALOGUE = _ROOT / "plant_config" / "fmea" / "pcb.yaml"
FULL, QUICK = (24, 30), (4, 6)
"""Questions (each four times) and notes."""


@app.callback()
def group() -> None:
    """Language models."""


@app.command()
def qualify(
    model: Annotated[str, typer.Argument(help="GGUF file, `default`, or http(s):// address of a server.")] = DEFAULT,
    adapter: Annotated[Path | None, typer.Option(help="Low-rank adapter (GGUF) to lay over the model.")] = None,
    name: Annotated[str, typer.Option(help="The model's name on the server.")] = "default",
    key: Annotated[str | None, typer.Option(help="File below $CREDENTIALS_DIRECTORY with the server's key.")] = None,
    backend: Annotated[str, typer.Option(help="auto, llama-cpp or xllamacpp.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads for a local model.")] = 1,
    deadline: Annotated[float, typer.Option(min=1, help="Seconds for each call.")] = 60.0,
    catalogue: Annotated[Path, typer.Option(help="FMEA file that half of the questions are from.")] = CATALOGUE,
    state: State = None,
    config: Config = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few questions; the result is shown and not kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Let a model sit the exam that decides what it may do here: write in orders, be asked for a vote.

    The result is kept in the store under the model's digest and the version of the prompts; the agent follows it.
    Until a model has passed, its words stand beside the template's text, marked.

    Examples:

      edge-agent llm qualify default --state state

      edge-agent llm qualify http://10.0.3.7:8080/v1 --name qwen3-4b-instruct --config plant.yaml

    Exit codes: 0 it may write, 1 it may not (or did not answer), 78 there is no such model or store.
    """
    logs.configure(level="error", style="console")
    store = None if quick else _store(state, config)
    questions, notes = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="edge-agent-exam.") as folder:
        analyst, memory = _analyst(model, adapter, name, key, backend, threads, deadline, Path(folder))
        with closing(analyst), _progress(Sitting.calls(questions, notes), analyst.name, show=not as_json) as tick:
            sitting = Sitting(
                analyst, load_catalogue(catalogue), deadline_s=deadline, memory_mb=memory, on_progress=tick
            )
            paper = sitting.sit(questions, notes)
    report = report_of(paper, analyst.name, questions, notes, SystemClock().now())
    if store is not None:
        _keep(store, paper, report)
    typer.echo(json.dumps(report | {"kept": store is not None}, indent=2) if as_json else as_text(report))
    if not as_json:
        typer.echo(_fate(report, kept=store is not None, quick=quick))
    if not report["writing"]:
        raise typer.Exit(1)


def report_of(paper: Paper, analyst: str, questions: int, notes: int, at: datetime) -> dict[str, Any]:
    """The exam's report as it is kept: figures, marks, and what they allow."""
    found = figures(paper)
    return {
        "model": paper.model_sha256,
        "name": paper.model_name,
        "analyst": analyst,
        "prompts": PROMPTS,
        "series": SERIES,
        "at": at.isoformat(),
        "questions": questions,
        "notes": notes,
        "figures": {key: None if value is None else round(value, 4) for key, value in found.items()},
        "marks": {one.figure: one.bound for one in MARKS},
        "missed": [one.figure for one in MARKS if not one.passed(found)],
        "writing": passed(found, choosing=False),
        "choosing": passed(found, choosing=True),
    }


def as_text(report: dict[str, Any]) -> str:
    """The table: each figure beside its mark."""
    found = report["figures"]
    lines = [f"{report['analyst']}  {report['model'][:16]}  prompts {report['prompts']}", ""]
    for title, for_choosing in (("For writing", False), ("For choosing, besides", True)):
        lines.append(f"{title:44s}{'found':>10s}   mark")
        lines += [_row(one, found) for one in MARKS if one.for_choosing == for_choosing]
        lines.append("")
    low, high = found["accuracy_low"], found["accuracy_high"]
    if found["accuracy"] is not None:
        lines.append(
            f"accuracy 95 %: {low:.2f} to {high:.2f}; same choice in all orders: {_number(found['same_in_all_orders'])}"
        )
    lines.append(f"seconds a call, median: {_number(found['seconds_median'])}; memory: {_memory(found['memory_mb'])}")
    lines.append(f"may write in orders: {_yes(report['writing'])}; is asked for a vote: {_yes(report['choosing'])}")
    return "\n".join(lines)


def _memory(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.0f} MB"


def _row(mark: Mark, found: dict[str, Any]) -> str:
    bound = f"{'at most' if mark.at_most else 'at least'} {mark.bound:g}{mark.unit}"
    verdict = "passed" if mark.passed(found) else "MISSED"
    return f"  {mark.title:42s}{_number(found[mark.figure]):>10s}   {bound:16s} {verdict}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _fate(report: dict[str, Any], *, kept: bool, quick: bool) -> str:
    if kept:
        return f"kept as {qualified_key(report['model'])[:48]}..."
    return "not kept: --quick asks too little" if quick else "not kept: give the store with --state or --config"


def _store(state: Path | None, config: Path | None) -> Database | None:
    """The store to keep the result in; none where none is named and none lies here."""
    if state is None and config is None:
        here = Path(os.environ.get("STATE_DIRECTORY", "state").partition(":")[0])
        if not here.is_dir():
            return None
        try:
            return open_store(None)
        except ConfigError:
            return None
    return open_store(state, config)


def _keep(store: Database, paper: Paper, report: dict[str, Any]) -> None:
    with store.unit() as unit:
        before = unit.facts.get(qualified_key(paper.model_sha256))
        record(unit, paper.model_sha256, report)
        missed = ", ".join(report["missed"]) or "none"
        unit.audit.append(
            actor=person(),
            action="llm.qualified",
            subject=f"model:{paper.model_sha256}",
            before=_allowed(before),
            after=_allowed(report),
            detail=f"{paper.model_name}, exam {SERIES}, prompts {PROMPTS}; missed: {missed}",
        )
        unit.commit()
    store.close()


def _allowed(report: Any) -> str:
    if not isinstance(report, dict):
        return ""
    return " ".join(one for one in ("writing", "choosing") if report.get(one) is True) or "nothing"


def _analyst(
    model: str,
    adapter: Path | None,
    name: str,
    key: str | None,
    backend: str,
    threads: int,
    deadline: float,
    folder: Path,
) -> tuple[Analyst, Callable[[], float]]:
    if model.startswith(("http://", "https://")):
        options = ServerAnalystOptions(
            kind="server", url=model, model=name, api_key_credential=key, deadline_s=deadline
        )
        return ServerAnalyst(options), lambda: 0.0
    path = DEFAULT_MODEL if model == DEFAULT else Path(model)
    for file in (path, adapter):
        if file is not None and not file.is_file():
            fetch = "; fetch it with scripts/fetch_llm" if file == DEFAULT_MODEL else ""
            raise ConfigError(f"no model at {file}{fetch}")
    if backend not in {"auto", "llama-cpp", "xllamacpp"}:
        raise typer.BadParameter("expected auto, llama-cpp or xllamacpp", param_hint="--backend")
    local = LocalAnalystOptions.model_validate(
        {
            "kind": "local",
            "backend": backend,
            "model": path,
            "adapter": adapter,
            "threads": threads,
            "deadline_s": deadline,
        }
    )
    analyst = LocalAnalyst(local, clock=SystemClock(), state_dir=folder)
    return analyst, lambda: analyst.rss_mb


@contextmanager
def _progress(calls: int, name: str, *, show: bool) -> Iterator[Callable[[], object]]:
    if not show:
        yield lambda: None
        return
    with typer.progressbar(length=calls, label=name, file=typer.get_text_stream("stderr")) as bar:
        yield lambda: bar.update(1)
