"""The template's text: complete without any language model. Every number is rounded in `words`, once."""

from collections.abc import Sequence

from edge_agent.domain.analysis import Analysis, Hypothesis, Narrative
from edge_agent.domain.cause import NONE, OTHER, Catalogue, Check
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.incident import Incident
from edge_agent.responding.rank import speaks
from edge_agent.responding.words import clock_time, defect_name, number, share

MAX_WORDS = 60


def problem(incident: Incident) -> str:
    """The problem in one sentence: what, how much, where, since when."""
    names = " and ".join(_classes(incident))
    factor = incident.rate / incident.baseline_rate if incident.baseline_rate else 0.0
    times = f"{number(round(factor, 1) if factor < 10 else round(factor))} times the normal rate"
    return (
        f"{names} on {incident.station_id} since {clock_time(incident.onset_from)}: "
        f"{incident.defective_parts} of {incident.parts} parts ({share(incident.rate)}), {times}"
    )


def _classes(incident: Incident) -> list[str]:
    ranked = sorted(incident.class_counts, key=lambda code: -incident.class_counts[code]) or [incident.code]
    names = [defect_name(code) for code in ranked[:3]]
    return [names[0][0].upper() + names[0][1:], *names[1:]]


def summary(
    incident: Incident, hypotheses: Sequence[Hypothesis], evidence: Sequence[Evidence], checks: Sequence[Check]
) -> Narrative:
    """At most 60 words: the problem, the first suspect with what speaks for it, the first check."""
    first = next((one for one in hypotheses if one.cause_id not in {NONE, OTHER}), None)
    top = hypotheses[0] if hypotheses else None
    cited: tuple[str, ...] = ()
    parts = [problem(incident) + "."]
    if top is not None and top.cause_id == NONE:
        parts.append("It may be chance: nothing else speaks for a cause yet.")
    elif first is None or first.grade == "unclear":
        parts.append("The evidence does not separate the causes; it may be something that is not listed.")
    else:
        pro = [one for one in speaks(first, evidence)[0] if _polarity(one, evidence) is Polarity.PRESENT][:2]
        cited = tuple(pro)
        reason = "; ".join(_fact(one, evidence) for one in pro)
        parts.append(f"{_sentence(first.name)} is {first.grade}" + (f": {reason}." if reason else "."))
    if checks:
        parts.append(f"Check first ({number(checks[0].minutes)} min): {checks[0].text}")
    return Narrative(source="template", text=_fitted(parts), citations=cited)


def _fact(evidence_id: str, evidence: Sequence[Evidence]) -> str:
    found = next(one for one in evidence if one.evidence_id == evidence_id)
    short = _short(found)
    return f"{short} ({evidence_id})"


def _polarity(evidence_id: str, evidence: Sequence[Evidence]) -> Polarity | None:
    return next((one.polarity for one in evidence if one.evidence_id == evidence_id), None)


def _sentence(name: str) -> str:
    return name[0].upper() + name[1:]


def _fitted(parts: Sequence[str]) -> str:
    """As many whole sentences as fit; the first always stands."""
    kept: list[str] = []
    for part in parts:
        if kept and len(" ".join([*kept, part]).split()) > MAX_WORDS:
            continue
        kept.append(part)
    return " ".join(kept)


def sections(analysis: Analysis, incident: Incident, catalogue: Catalogue) -> dict[str, list[str]]:
    """The long form, section by section, for documents and pages: every line made by code."""
    shown = [one for one in analysis.hypotheses if one.cause_id not in {NONE, OTHER}][:3]
    return {
        "Problem": [problem(incident) + "."],
        "Found": [_line(one) for one in analysis.evidence if one.polarity is Polarity.PRESENT],
        "Looked for and not found": [_line(one) for one in analysis.evidence if _is_relevant_absence(one, shown)],
        "Could not be looked for": [_line(one) for one in analysis.evidence if one.polarity is Polarity.UNKNOWN],
        "Suspects": [_suspect(one, analysis.evidence) for one in shown] + _open_set(analysis),
        "Actions": [
            f"{one.name}: {action.text}"
            for one in shown
            if (cause := catalogue.cause(one.cause_id))
            for action in cause.actions
        ],
        "Basis": [
            f"onset between {clock_time(incident.onset_from)} and {clock_time(incident.onset_to)}",
            *(f"{name} {version}" for name, version in sorted(analysis.engine.items())),
        ],
    }


def _line(one: Evidence) -> str:
    return f"{one.evidence_id}: {one.statement}"


def _is_relevant_absence(one: Evidence, shown: Sequence[Hypothesis]) -> bool:
    """Absent, and it matters to one of the suspects."""
    used = {term.evidence_id for hypothesis in shown for term in hypothesis.terms}
    return one.polarity is Polarity.ABSENT and one.evidence_id in used


def _suspect(one: Hypothesis, evidence: Sequence[Evidence]) -> str:
    pro, contra = speaks(one, evidence)
    against = f"; against: {', '.join(contra[:4])}" if contra else ""
    return f"{one.rank}. {one.name}: {one.grade}; for: {', '.join(pro[:5]) or 'its frequency only'}{against}"


def _open_set(analysis: Analysis) -> list[str]:
    return ["It could also be something that is not listed."] if analysis.unknown_score >= 0.3 else []


def _short(found: Evidence) -> str:
    """The evidence in a few words. A signal by the name that the plant gave it, as its statement begins."""
    if not found.token:
        return found.statement
    verb = " rose " if found.token.endswith("+") else " fell "
    name, told, _ = found.statement.partition(verb)
    if found.token.startswith("tel:") and told:
        return f"{name[:1].lower()}{name[1:]}{verb.rstrip()}"
    return found.words
