"""``edge-agent diagnose``: rank causes for incidents from files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from edge_agent.config.incident_files import GivenAnswer, GivenIncident, read_feedback, read_incidents, read_normal
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.located import Problem
from edge_agent.config.open_catalogue import load_catalogues
from edge_agent.domain.cause import OTHER, Catalogue
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.inference import SEED
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.learning.refit import Refit, refit
from edge_agent.responding.analyse import Knowledge
from edge_agent.responding.given import Ranking, known_from, ranking

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LEAST_TERM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One domain, ready to rank."""

    known: Knowledge
    cases: tuple[ConfirmedCase, ...]
    learned: str


def command(
    catalogue: Annotated[Path, typer.Option(help="A catalogue, or a folder of them (one per domain).")],
    incidents: Annotated[Path, typer.Option(help="JSON lines: one incident a line, a list of evidence items.")],
    normal: Annotated[Path | None, typer.Option(help="JSON lines: what is seen when nothing is wrong.")] = None,
    feedback: Annotated[Path | None, typer.Option(help="JSON lines: incidents with their confirmed cause.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per incident.")] = False,
) -> None:
    """Rank causes for incidents from files, exactly as the agent does on the line.

    An evidence item is {"token", "polarity": present | absent | unknown, "strength": 0 to 1}. A token that an incident
    does not name was not looked for. Tokens are the catalogue's own words. With --feedback the weights are refitted on
    the confirmed causes, and used only if that does no harm.

    Example: edge-agent diagnose --catalogue plant_config/fmea/pcb.yaml
    --incidents plant_config/examples/diagnose/incidents.jsonl --json

    Exit codes: 0 done; 78 a file must be changed (every problem with file, line, value and what was expected).
    """
    catalogues = load_catalogues(catalogue)
    given = read_incidents(incidents)
    known = {one.name: one for one in given}
    answers = read_feedback(feedback, known) if feedback else []
    runs = read_normal(normal) if normal else None
    observed = {token: (runs.fired[token], count) for token, count in runs.runs.items()} if runs else None
    _domains_known(catalogues, [(incidents, one) for one in given])
    _domains_known(catalogues, [(feedback or incidents, one.incident) for one in answers])
    prepared = {name: prepare(one, observed, _of(answers, name, catalogues)) for name, one in catalogues.items()}
    for one in given:
        ready = prepared[one.domain or next(iter(catalogues))]
        found = ranking(ready.known, one.evidence, ready.cases, excess=one.excess)
        typer.echo(json.dumps(as_record(one, found, ready)) if as_json else "\n".join(as_text(one, found)))
    if not as_json:
        for name, ready in prepared.items():
            typer.echo(f"catalogue {name}: {ready.learned}")


def prepare(
    catalogue: Catalogue, normal: Mapping[str, Sequence[float]] | None, answers: Sequence[GivenAnswer]
) -> Prepared:
    """Background and weights of one catalogue."""
    cases = tuple(_case(number, one, catalogue) for number, one in enumerate(answers, start=1))
    seed = known_from(catalogue, normal, SEED)
    if not cases:
        return Prepared(known=seed, cases=(), learned="the catalogue alone")
    fitted = refit(cases, catalogue, seed.background, SEED, version=f"fit-{len(cases)}")
    weights = fitted.weights if fitted.activate else SEED
    return Prepared(known=known_from(catalogue, normal, weights), cases=cases, learned=_learned(fitted))


def _learned(fitted: Refit) -> str:
    used = "used" if fitted.activate else "not used"
    return f"fitted on {fitted.cases} confirmed cases, {used}: {fitted.reason}"


def _case(number: int, answer: GivenAnswer, catalogue: Catalogue) -> ConfirmedCase:
    listed = answer.cause_id in {"NONE", OTHER} or catalogue.cause(answer.cause_id) is not None
    return ConfirmedCase(
        incident_id=UUID(int=number),
        order_id=UUID(int=number),
        cause_id=answer.cause_id if listed else OTHER,
        code="",
        line_id="",
        tokens=signs(answer.incident.evidence),
        weight=answer.weight,
        confirmed_at=EPOCH + timedelta(hours=number),
        first_suspect=None,
        text=answer.text or ("" if listed else answer.cause_id),
        excess=answer.incident.excess,
    )


def signs(evidence: Sequence[Evidence]) -> dict[str, int]:
    """Token to +1 (present) or -1 (absent), as the learner keeps them."""
    found: dict[str, int] = {}
    for one in evidence:
        if one.token and one.polarity is not Polarity.UNKNOWN:
            found[one.token] = max(found.get(one.token, -1), 1 if one.polarity is Polarity.PRESENT else -1)
    return found


def _of(answers: Sequence[GivenAnswer], domain: str, catalogues: Mapping[str, Catalogue]) -> list[GivenAnswer]:
    only = len(catalogues) == 1
    return [one for one in answers if only or one.incident.domain == domain]


def _domains_known(catalogues: Mapping[str, Catalogue], given: Sequence[tuple[Path, GivenIncident]]) -> None:
    """Raises InvalidConfiguration: an incident does not say which of several catalogues it belongs to."""
    if len(catalogues) == 1:
        return
    expected = ", ".join(sorted(catalogues))
    problems = [
        Problem(
            file=file, line=one.line, key="domain", message=f"found {one.domain or None!r}, expected one of {expected}"
        )
        for file, one in given
        if one.domain not in catalogues
    ]
    if problems:
        raise InvalidConfiguration(problems)


# --- out ------------------------------------------------------------------------------------------------------------


def as_record(incident: GivenIncident, found: Ranking, ready: Prepared) -> dict[str, Any]:
    """One incident's answer."""
    tokens = {one.evidence_id: one.token for one in incident.evidence}
    catalogue, total = ready.known.catalogue, sum(one.p for one in found.hypotheses)
    return {
        "incident": incident.name,
        "causes": [
            {
                "cause": one.cause_id,
                "name": one.name,
                "p": round(one.p / total, 6),
                "rank": one.rank,
                "grade": one.grade,
                "terms": [
                    {"token": tokens.get(term.evidence_id), "evidence": term.evidence_id, "delta": term.delta}
                    for term in one.terms
                ],
            }
            for one in found.hypotheses
        ],
        "unknown_score": found.unknown_score,
        "decision": found.decision,
        "second_cause": found.second.cause_id if found.second else None,
        "checks": [{"id": one.check_id, "text": one.text, "minutes": one.minutes} for one in found.checks[:2]],
        "engine": {
            "catalogue": f"{catalogue.domain}/{catalogue.version}",
            "weights": ready.known.weights.version,
            "learned": ready.learned,
        },
    }


def as_text(incident: GivenIncident, found: Ranking) -> Iterator[str]:
    """One incident's answer for people."""
    tokens = {one.evidence_id: one.token for one in incident.evidence}
    yield f"{incident.name}: {found.decision}, unknown {found.unknown_score:.2f}"
    for one in found.hypotheses[:3]:
        why = ", ".join(f"{tokens.get(term.evidence_id)} {term.delta:+.1f}" for term in one.terms[:5])
        yield f"  {one.p:6.1%}  {one.cause_id}  {one.name} ({one.grade})  {why}"
    if found.second:
        yield f"  perhaps also {found.second.cause_id}  {found.second.name}"
    for check in found.checks[:2]:
        yield f"  check ({check.minutes:g} min): {check.text}"
