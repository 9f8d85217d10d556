"""What checks have found goes into the ranking: each outcome by the likelihood ratio that the catalogue gives it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log
from uuid import UUID

from edge_agent.domain.analysis import Analysis, Hypothesis, Term
from edge_agent.domain.cause import Catalogue, Check
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident
from edge_agent.ports import UnitOfWork
from edge_agent.responding.check_order import check_order
from edge_agent.responding.rank import decision, grade
from edge_agent.responding.text import summary

TOOL = "check.result@1"
CHECKED = "checks"
"""Key of the engine's notes: which checks are in the ranking, and what they found."""


def results_of(uow: UnitOfWork, incident_id: UUID) -> dict[str, bool]:
    """Check id to what was found, of all answers about the incident's order; the last word counts."""
    order = uow.orders.for_incident(incident_id)
    if order is None or order.collects:
        return {}
    return {one.check_id: one.found for answer in uow.answers.responses(order.order_id) for one in answer.checks}


def with_results(
    analysis: Analysis,
    incident: Incident,
    results: Mapping[str, bool],
    catalogue: Catalogue,
    earlier: Sequence[Evidence] = (),
) -> Analysis:
    """The analysis with the checks' outcomes as facts, in the ranking, the text and the decision.

    Args:
        analysis: without any outcomes in it.
        results: check id to whether it found what it looked for; ids that the catalogue lacks say nothing.
        earlier: the evidence of the previous revision; the same outcome keeps its id.
    """
    done = {check_id: check for check_id in results if (check := _check(catalogue, check_id))}
    if not done:
        return analysis
    facts = _facts(analysis, incident, {one: results[one] for one in done}, done, earlier)
    hypotheses = _weighed(analysis.hypotheses, facts, results, catalogue)
    evidence = (*analysis.evidence, *facts.values())
    left = [one for one in check_order(hypotheses, catalogue) if one.check_id not in done]
    text = summary(incident, hypotheses, evidence, left)
    noted = "; ".join(f"{one} {'found' if results[one] else 'not found'}" for one in sorted(done))
    return replace(
        analysis,
        evidence=evidence,
        hypotheses=hypotheses,
        decision=decision(hypotheses, analysis.unknown_score),
        narratives=tuple(text if one.source == "template" else one for one in analysis.narratives),
        engine={**analysis.engine, CHECKED: noted},
    )


def without_results(analysis: Analysis) -> Analysis:
    """The analysis as it was before any outcome: its facts and their terms taken out again."""
    facts = {one.evidence_id for one in analysis.evidence if one.tool == TOOL}
    if not facts:
        return analysis
    raw = [
        (one, one.p * exp(-sum(term.delta for term in one.terms if term.evidence_id in facts)))
        for one in analysis.hypotheses
    ]
    kept = [
        (replace(one, terms=tuple(term for term in one.terms if term.evidence_id not in facts)), p) for one, p in raw
    ]
    return replace(
        analysis,
        evidence=tuple(one for one in analysis.evidence if one.evidence_id not in facts),
        hypotheses=_ranked(kept),
        engine={name: text for name, text in analysis.engine.items() if name != CHECKED},
    )


def _check(catalogue: Catalogue, check_id: str) -> Check | None:
    return next((one for cause in catalogue.causes for one in cause.checks if one.check_id == check_id), None)


def _facts(
    analysis: Analysis,
    incident: Incident,
    results: Mapping[str, bool],
    checks: Mapping[str, Check],
    earlier: Sequence[Evidence],
) -> dict[str, Evidence]:
    known = {one.provenance.get("check"): one.evidence_id for one in earlier if one.tool == TOOL}
    used = [int(one.evidence_id[1:]) for one in (*analysis.evidence, *earlier) if one.evidence_id[1:].isdigit()]
    following = max(used, default=0)
    facts: dict[str, Evidence] = {}
    for check_id in sorted(results):
        evidence_id = known.get(check_id)
        if evidence_id is None:
            following += 1
            evidence_id = f"E{following}"
        facts[check_id] = Evidence(
            evidence_id=evidence_id,
            tool=TOOL,
            token=None,
            statement=f"checked: {checks[check_id].text.rstrip('.')}: {'found' if results[check_id] else 'not found'}",
            polarity=Polarity.PRESENT if results[check_id] else Polarity.ABSENT,
            strength=0.99,
            n=1,
            window_from=incident.onset_from,
            window_to=incident.updated_at,
            scope={"station": incident.station_id},
            provenance={"check": check_id},
        )
    return facts


def _weighed(
    hypotheses: Sequence[Hypothesis], facts: Mapping[str, Evidence], results: Mapping[str, bool], catalogue: Catalogue
) -> tuple[Hypothesis, ...]:
    weighed = []
    for one in hypotheses:
        cause = catalogue.cause(one.cause_id)
        own = [check for check in (cause.checks if cause else ()) if check.check_id in facts]
        terms = [
            Term(
                evidence_id=facts[check.check_id].evidence_id,
                delta=round(log(check.lr_pos if results[check.check_id] else check.lr_neg), 3),
            )
            for check in own
        ]
        weighed.append((replace(one, terms=(*one.terms, *terms)), one.p * exp(sum(term.delta for term in terms))))
    return _ranked(weighed)


def _ranked(weighed: Sequence[tuple[Hypothesis, float]]) -> tuple[Hypothesis, ...]:
    """By probability, with the same sum as before."""
    total = sum(p for _, p in weighed)
    scale = sum(one.p for one, _ in weighed) / total if total else 1.0
    ranked = sorted(weighed, key=lambda pair: -pair[1])
    return tuple(
        replace(one, p=round(p * scale, 6), rank=place, grade=grade(p * scale))
        for place, (one, p) in enumerate(ranked, start=1)
    )
