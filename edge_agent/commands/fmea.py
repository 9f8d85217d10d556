"""``edge-agent fmea``: check and show the catalogue of causes."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.commands.stored import Config, State, open_store
from edge_agent.config.catalogue import load_catalogue
from edge_agent.config.catalogue_review import Remark, review
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.located import Problem, UnreadableFile, read
from edge_agent.domain.cause import Catalogue, Cause, Signature
from edge_agent.learning.suggest import suggestions

app = typer.Typer(no_args_is_help=True)

Where = Annotated[Path, typer.Argument(help="A catalogue, or a folder of catalogues.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
FOLDER = Path("plant_config/fmea")


@app.callback()
def fmea() -> None:
    """Check and show the catalogue of causes."""


@app.command()
def check(
    where: Where = FOLDER,
    strict: Annotated[bool, typer.Option(help="Homework (seeds, missing sources) fails too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong in catalogues, and what is right but will mislead.

    Wrong: unknown tokens, classes or parents, signatures that exclude what they expect. Misleading: a class without a
    cause, causes that nothing tells apart, a signature that points at another cause, no MEAS. Homework: no check,
    action or source, still a seed. NONE and OTHER need no row: they always take part.

    Example: edge-agent fmea check plant_config/fmea

    Exit codes: 0 nothing to mend; 1 something misleads; 78 something is wrong (all of it, with file and line).
    """
    catalogues = load_all(where)
    remarks = {str(file): review(catalogue) for file, catalogue in catalogues.items()}
    if as_json:
        typer.echo(json.dumps({file: [asdict(one) for one in found] for file, found in remarks.items()}))
    else:
        for file, found in remarks.items():
            typer.echo("\n".join(_as_text(file, catalogues[Path(file)], found)))
    if any(one.grave or strict for found in remarks.values() for one in found):
        raise typer.Exit(1)


@app.command()
def show(
    where: Where = FOLDER,
    cause: Annotated[str, typer.Option(help="Only this cause, in full.")] = "",
    as_json: AsJson = False,
) -> None:
    """List causes, or show one in full.

    Example: edge-agent fmea show plant_config/fmea/pcb.yaml --cause A17
    """
    for file, catalogue in load_all(where).items():
        chosen = [one for one in catalogue.causes if cause in {"", one.cause_id}]
        if as_json:
            typer.echo(json.dumps(_record(catalogue, chosen)))
        elif chosen:
            typer.echo(f"{file}: {catalogue.domain} {catalogue.version}, {len(catalogue.causes)} causes")
            for one in chosen:
                typer.echo("\n".join(_in_full(one, catalogue)) if cause else _row(one))


@app.command()
def suggest(state: State = None, config: Config = None, as_json: AsJson = False) -> None:
    """Suggest rows for causes that technicians found and the catalogue lacks: three alike make one.

    Nothing is changed: a person adds the row.

    Example: edge-agent fmea suggest --state state
    """
    store = open_store(state, config)
    with store.reader() as uow:
        found = suggestions(uow.answers.cases(), {})
    store.close()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False))
        return
    for one in found:
        typer.echo(f"{one.cases} orders closed as something else: {'; '.join(one.texts) or 'no text'}")
        typer.echo(f"  classes: {', '.join(one.classes) or '-'}")
        typer.echo("  signature: " + ", ".join(f'"{token}": {share}' for token, share in one.tokens.items()))
    if not found:
        typer.echo("nothing to suggest: no three orders closed as something else are alike")


def load_all(where: Path) -> dict[Path, Catalogue]:
    """The catalogues of a file or folder by file.

    Raises:
        InvalidConfiguration: with the problems of all of them.
    """
    files = sorted(where.glob("*.y*ml")) if where.is_dir() else [where]
    problems: list[Problem] = []
    found: dict[Path, Catalogue] = {}
    for file in files:
        try:
            data = read(file).data
            if where.is_dir() and not (isinstance(data, dict) and "causes" in data):
                continue
            found[file] = load_catalogue(file)
        except UnreadableFile as error:
            problems.append(error.problem)
        except InvalidConfiguration as error:
            problems.extend(error.problems)
    if not found and not problems:
        problems.append(Problem(file=where, line=0, key="", message="no catalogue here: expected YAML with `causes`"))
    if problems:
        raise InvalidConfiguration(problems)
    return found


def _as_text(file: str, catalogue: Catalogue, found: tuple[Remark, ...]) -> Iterator[str]:
    causes, classes, tokens = len(catalogue.causes), len(catalogue.severity), len(catalogue.background)
    yield f"{file}: {causes} causes, {classes} classes, {tokens} tokens"
    seeds = [one for one in found if one.message.startswith("still a seed")]
    for one in found:
        if one not in seeds:
            yield f"  {'!' if one.grave else '-'} {one.subject}: {one.message}"
    if seeds:
        yield f"  - {len(seeds)} causes are still seeds: no engineer has reviewed them"
    grave = sum(one.grave for one in found)
    yield f"  {grave} misleading, {len(found) - grave} homework"


def _row(cause: Cause) -> str:
    classes = " ".join(f"{code}:{p:.2f}" for code, p in cause.classes.items())
    return f"  {cause.cause_id:5} O{cause.occurrence:<2} {cause.name} ({cause.category_6m}, {cause.status})  {classes}"


def _in_full(cause: Cause, catalogue: Catalogue) -> Iterator[str]:
    yield _row(cause)
    for number, signature in enumerate(cause.signatures, start=1):
        yield f"    signature {number}: {_signature(signature, catalogue)}"
    for one in cause.checks:
        lock = ", lock out" if one.loto else ""
        yield f"    check {one.check_id} ({one.minutes:g} min{lock}, x{one.lr_pos:g} / x{one.lr_neg:g}): {one.text}"
    for action in cause.actions:
        yield f"    action {action.action_id} ({action.kind}, {action.minutes:g} min): {action.text}"
    for source in cause.sources:
        yield f"    source: {source}"


def _signature(signature: Signature, catalogue: Catalogue) -> str:
    parts = []
    for name, expectations in (("all", signature.all_of), ("any", signature.any_of), ("none", signature.none_of)):
        if expectations:
            told = ", ".join(f"{one.token} {one.p:g}/{catalogue.background[one.token]:g}" for one in expectations)
            parts.append(f"{name} of {told}")
    return "; ".join(parts)


def _record(catalogue: Catalogue, causes: list[Cause]) -> dict[str, Any]:
    return {
        "domain": catalogue.domain,
        "version": catalogue.version,
        "background": dict(catalogue.background),
        "causes": [asdict(one) for one in causes],
    }
