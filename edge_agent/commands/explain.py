"""``edge-agent explain``: the whole story of one incident, from the first fact to the plant's answer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from edge_agent.commands.stored import Config, State, open_store
from edge_agent.config import load
from edge_agent.config.catalogue import load_catalogue
from edge_agent.domain.analysis import Analysis, Hypothesis
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.evidence import Polarity
from edge_agent.domain.incident import Incident
from edge_agent.domain.step import Step, StepKind
from edge_agent.domain.verdict import ConfirmedCase, JobResponse
from edge_agent.domain.work_order import WorkOrder
from edge_agent.ports import UnitOfWork
from edge_agent.responding.retrace import Retraced, retrace

_LOOKED_AT = 1_000
_BAR = 20
_SIGNS = {Polarity.PRESENT: "seen", Polarity.ABSENT: "not seen", Polarity.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is stored about one incident."""

    incident: Incident
    analysis: Analysis | None
    steps: tuple[Step, ...]
    order: WorkOrder | None
    responses: tuple[JobResponse, ...]
    case: ConfirmedCase | None
    retraced: tuple[Retraced, ...] = ()


def command(
    incident: Annotated[str, typer.Argument(help="Incident id (or its beginning), order number, or `last`.")] = "last",
    state: State = None,
    config: Config = None,
    replay: Annotated[bool, typer.Option("--replay", help="Check the model's stored answers again.")] = False,
    catalogue: Annotated[
        Path | None, typer.Option(help="FMEA file for --replay; default: the configuration's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell the whole story of an incident: facts, causes with every term, what the language model was asked and said,
    what the checks said of it, what was shown, and what the plant answered.

    Examples:

      edge-agent explain last --state state

      edge-agent explain WO-0007 --config my-plant --replay

    Exit codes: 0 told, 1 no such incident, or --replay found another verdict than then.
    """
    store = open_store(state, config)
    with store.reader() as unit:
        found = _find(unit, incident)
        story = _story(unit, found, _catalogue(config, catalogue) if replay else None) if found else None
    store.close()
    if story is None:
        typer.echo(f"no incident {incident}: neither an id, nor the beginning of one, nor an order's number", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(as_data(story), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(as_lines(story)))
    if any(not one.same for one in story.retraced):
        raise typer.Exit(1)


def _find(unit: UnitOfWork, named: str) -> Incident | None:
    recent = unit.incidents.recent(_LOOKED_AT)
    if named == "last":
        return recent[0] if recent else None
    order = next((one for one in unit.orders.list(limit=_LOOKED_AT) if one.number == named), None)
    if order is not None:
        return unit.incidents.get(order.incident_id)
    try:
        return unit.incidents.get(UUID(named))
    except ValueError:
        return next((one for one in recent if len(named) >= 4 and str(one.incident_id).startswith(named)), None)


def _catalogue(config: Path | None, catalogue: Path | None) -> Catalogue:
    if catalogue is not None:
        return load_catalogue(catalogue)
    if config is None:
        raise typer.BadParameter("give the catalogue that the answers are checked with: --catalogue, or --config")
    configuration = load(config)
    return load_catalogue(configuration.resolve(configuration.plant.diagnosis.catalogue))


def _story(unit: UnitOfWork, incident: Incident, catalogue: Catalogue | None) -> Story:
    order = unit.orders.for_incident(incident.incident_id)
    steps = tuple(unit.steps.list(incident.incident_id))
    again = [retrace(one, unit.analyses.get(one.analysis_id), incident, catalogue) for one in steps if catalogue]
    cases = [one for one in unit.answers.cases() if one.incident_id == incident.incident_id]
    return Story(
        incident=incident,
        analysis=unit.analyses.latest(incident.incident_id),
        steps=steps,
        order=order,
        responses=tuple(unit.answers.responses(order.order_id)) if order else (),
        case=cases[0] if cases else None,
        retraced=tuple(one for one in again if one is not None),
    )


# --- for people -----------------------------------------------------------------------------------------------------


def as_lines(story: Story) -> Iterator[str]:
    """The story as text."""
    incident = story.incident
    yield f"Incident {incident.incident_id}  revision {incident.revision}  {incident.state.value}"
    yield (
        f"  {incident.code} at {incident.station_id}: {incident.defective_parts} of {incident.parts} parts, "
        f"rate {incident.rate:.3g}, normally {incident.baseline_rate:.3g}"
    )
    onset = f"{incident.onset_from:%H:%M:%S} and {incident.onset_to:%H:%M:%S}"
    yield f"  opened {incident.opened_at:%Y-%m-%d %H:%M:%S}, began between {onset}"
    if story.analysis is None:
        yield "  not analysed yet"
    else:
        yield from _analysed(story.analysis)
    yield from _stepped(story)
    yield from _shown(story)
    yield from _answered(story)


def _analysed(analysis: Analysis) -> Iterator[str]:
    yield ""
    yield f"Facts (analysis revision {analysis.revision}, {analysis.made_at:%H:%M:%S})"
    for one in analysis.evidence:
        mixed = f"; not to be told from {', '.join(one.confounded_with)}" if one.confounded_with else ""
        yield f"  {one.evidence_id:4s} {_SIGNS[one.polarity]:8s} {one.strength:4.2f}  {one.token or '-':28s} {one.tool}"
        yield f"       {one.statement}{mixed}"
    yield ""
    yield f"Causes (decision: {analysis.decision}; not in the catalogue: {analysis.unknown_score:.2f})"
    for cause in analysis.hypotheses:
        yield f"  {cause.rank}. {cause.cause_id:6s} {cause.p:6.3f}  {cause.grade:12s} {cause.name}"
        yield from _terms(cause)
    yield "  made with " + ", ".join(f"{name} {version}" for name, version in sorted(analysis.engine.items()))


def _terms(cause: Hypothesis) -> Iterator[str]:
    """Signed bars: what each fact adds to the cause's log-odds, or takes."""
    for term in cause.terms:
        length = min(_BAR, max(1, round(abs(term.delta) / 3 * _BAR)))
        bar = ("+" if term.delta > 0 else "-") * length
        yield f"       {term.evidence_id:4s} {term.delta:+6.2f} {bar}"


def _stepped(story: Story) -> Iterator[str]:
    yield ""
    yield "Language model" if story.steps else "Language model: it was not asked"
    again = {one.step.step_id: one for one in story.retraced}
    for step in story.steps:
        yield f"  {step.at:%H:%M:%S} {_head(step)}"
        if step.prompt and step.kind is not StepKind.CALL:
            yield from (f"       > {line}" for line in step.prompt.splitlines())
        if step.answer and step.kind is not StepKind.ROUTE:
            yield f"       < {step.answer}"
        if step.rules:
            yield f"       refused by {', '.join(step.rules)}"
        if found := again.get(step.step_id):
            yield f"       checked again: {_verdict(found)}"


def _head(step: Step) -> str:
    match step.kind:
        case StepKind.ROUTE:
            return f"way taken: {step.outcome} ({step.answer})"
        case StepKind.CALL:
            return f"turn {step.turn}, it called {step.prompt}: {step.outcome}"
        case StepKind.VOTE:
            return f"vote: {step.outcome}"
        case _:
            seconds = step.latency_ms / 1000
            return f"turn {step.turn}, {step.kind.value}: {step.outcome} ({seconds:.1f} s, model {step.model[:12]})"


def _verdict(found: Retraced) -> str:
    if found.rules is None:
        return "cannot be: its analysis is gone, or the catalogue is another"
    said = "accepted" if not found.rules else f"refused by {', '.join(found.rules)}"
    return said + ("" if found.same else "  ANOTHER VERDICT THAN THEN")


def _shown(story: Story) -> Iterator[str]:
    yield ""
    yield "Shown"
    for one in story.analysis.narratives if story.analysis else ():
        refused = f"refused by {', '.join(one.rejected)}" if one.rejected else f"as {one.shown_as}: {one.text}"
        yield f"  {one.source}, {refused}"
    if story.order is None:
        yield "  no order"
        return
    order = story.order
    yield f"  order {order.number} revision {order.revision}, {order.state.value}, text by {order.text_source}"
    yield from (f"    {one.cause_id} {one.name} ({one.grade})" for one in order.suspects)


def _answered(story: Story) -> Iterator[str]:
    yield ""
    yield "Answers" if story.responses or story.case else "Answers: none yet"
    for one in story.responses:
        cause = f": {one.actual.cause_id or one.actual.cause_text}" if one.actual else ""
        yield f"  {one.received_at:%Y-%m-%d %H:%M:%S} {one.event.value}{cause}"
    if story.case:
        recovered = {True: "recovered", False: "did not recover", None: "not known yet whether it recovered"}
        case = story.case
        if not case.shown_ranking:
            yield f"  the ranking was hidden at first; suspected before it was shown: {case.suspicion or case.cause_id}"
        yield f"  confirmed: {case.cause_id} (trust {case.weight:.2f}, {recovered[case.recovered]})"


# --- for programs ---------------------------------------------------------------------------------------------------


def as_data(story: Story) -> dict[str, Any]:
    """The story as JSON values."""
    incident, analysis = story.incident, story.analysis
    return {
        "incident": {
            "id": str(incident.incident_id),
            "revision": incident.revision,
            "state": incident.state.value,
            "station": incident.station_id,
            "class": incident.code,
            "parts": incident.parts,
            "defective_parts": incident.defective_parts,
            "rate": incident.rate,
            "normal_rate": incident.baseline_rate,
            "onset": [incident.onset_from.isoformat(), incident.onset_to.isoformat()],
        },
        "analysis": _analysis_data(analysis) if analysis else None,
        "steps": [_step_data(one) for one in story.steps],
        "replay": [
            {"step": str(one.step.step_id), "rules": None if one.rules is None else list(one.rules), "same": one.same}
            for one in story.retraced
        ],
        "order": _order_data(story.order) if story.order else None,
        "responses": [{"at": one.received_at.isoformat(), "event": one.event.value} for one in story.responses],
        "case": {
            "cause": story.case.cause_id,
            "trust": story.case.weight,
            "recovered": story.case.recovered,
            "shown_ranking": story.case.shown_ranking,
            "suspicion": story.case.suspicion,
        }
        if story.case
        else None,
    }


def _analysis_data(analysis: Analysis) -> dict[str, Any]:
    return {
        "id": str(analysis.analysis_id),
        "revision": analysis.revision,
        "decision": analysis.decision,
        "unknown_score": analysis.unknown_score,
        "engine": dict(analysis.engine),
        "evidence": [
            {
                "id": one.evidence_id,
                "tool": one.tool,
                "token": one.token,
                "polarity": one.polarity.value,
                "strength": one.strength,
                "statement": one.statement,
                "confounded_with": list(one.confounded_with),
            }
            for one in analysis.evidence
        ],
        "causes": [
            {"cause": one.cause_id, "name": one.name, "p": one.p, "grade": one.grade, "terms": _term_data(one)}
            for one in analysis.hypotheses
        ],
        "narratives": [
            {"source": one.source, "shown_as": one.shown_as, "text": one.text, "rejected": list(one.rejected)}
            for one in analysis.narratives
        ],
    }


def _term_data(one: Hypothesis) -> list[dict[str, Any]]:
    return [{"evidence": term.evidence_id, "log_odds": term.delta} for term in one.terms]


def _step_data(one: Step) -> dict[str, Any]:
    return {
        "id": str(one.step_id),
        "analysis": str(one.analysis_id),
        "kind": one.kind.value,
        "at": one.at.isoformat(),
        "turn": one.turn,
        "model": one.model,
        "prompt": one.prompt,
        "answer": one.answer,
        "rules": list(one.rules),
        "outcome": one.outcome,
        "latency_ms": one.latency_ms,
        "detail": dict(one.detail),
    }


def _order_data(order: WorkOrder) -> dict[str, Any]:
    return {
        "number": order.number,
        "revision": order.revision,
        "state": order.state.value,
        "text": order.text,
        "text_source": order.text_source,
        "note": order.note,
        "suspects": [one.cause_id for one in order.suspects],
    }
