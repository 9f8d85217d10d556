"""Incidents thrown at a responder ready diagnosed, one a part, as fast as its store takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from edge_agent.config.catalogue import load_priority_table
from edge_agent.domain.analysis import Hypothesis, Narrative
from edge_agent.domain.incident import Incident
from edge_agent.domain.work_order import Containment
from edge_agent.responding.responder import Responder
from edge_agent.responding.working_out import CURSOR, Finding, Step
from tests.fakes.diagnosed_line import SENDER, DiagnosedLine
from tests.fakes.made import an_analysis, an_incident, an_inspection

ONSET = "onset_at"


@dataclass(slots=True, kw_only=True)
class Throwing:
    """A responder whose diagnosis says what a test wants."""

    line: DiagnosedLine
    findings: list[Finding] = field(default_factory=list)
    responder: Responder = field(init=False)
    _thrown: int = 0

    def __post_init__(self) -> None:
        self.responder = Responder(
            store=self.line.store,
            clock=self.line.clock,
            catalogue=self.line.catalogue,
            priority_table=load_priority_table(None),
            settings=self.line.settings,
            sender=SENDER,
            announce=lambda event, thing: self.line.said.append((event, thing)),
            elsewhere=self._work_out,
        )

    def throw(self, many: int, **fields: object) -> list[Incident]:
        """So many new incidents, each of another key unless ``attributes`` say otherwise; all answered on return."""
        made = [self.incident(**fields) for _ in range(many)]
        self.happen([self.finding("open", one) for one in made])
        return made

    def happen(self, findings: Sequence[Finding]) -> None:
        """These findings, one with each part; then the responder has nothing left to do."""
        with self.line.store.unit(durable=False) as uow:
            for one in findings:
                uow.inspections.add(an_inspection(self.line.clock, station_id=one.incident.station_id, codes=("open",)))
            uow.commit()
        self.findings.extend(findings)
        while self.responder.step():
            pass

    def incident(self, **fields: object) -> Incident:
        """One that no other order covers, of a station of its own."""
        number, now = self._thrown, self.line.clock.now()
        self._thrown += 1
        plain = {"station_id": f"aoi-{number}", "code": "open", "rate": 0.04, "statistic": 30.0, "parent_id": None}
        attributes = {"family": f"family-{number}", ONSET: now.isoformat()}
        times = dict.fromkeys(("opened_at", "updated_at", "onset_from", "onset_to"), now)
        given = {**plain, **times, "attributes": attributes, "class_counts": {"open": 9}, **fields}
        return an_incident(self.line.clock, line_id="L1", **given)

    def finding(self, kind: str, incident: Incident) -> Finding:
        """Diagnosed: one likely cause of the catalogue."""
        cause = self.line.catalogue.causes[0]
        suspect = Hypothesis(cause_id=cause.cause_id, name=cause.name, p=0.7, rank=1, grade="likely")
        analysis = an_analysis(
            self.line.clock,
            incident_id=incident.incident_id,
            hypotheses=(suspect,),
            evidence=(),
            decision="check",
            narratives=(Narrative(source="template", text="It is likely."),),
        )
        held = Containment(part_ids=incident.part_ids, lot_ids=(), since=incident.onset_from)
        return Finding(kind=kind, incident=incident, analysis=analysis, containment=held)

    def revised(self, incident: Incident, **fields: object) -> Incident:
        """The incident's next revision, a second later; answered on return."""
        later = replace(
            incident,
            revision=incident.revision + 1,
            updated_at=incident.updated_at + timedelta(seconds=1),
            **fields,  # type: ignore[arg-type]
        )
        self.happen([self.finding("revise", later)])
        return later

    def _work_out(self) -> Step | None:
        if not self.findings:
            return None
        with self.line.store.reader() as uow:
            start = int(uow.facts.get(CURSOR) or 0)
            sequence = uow.inspections.after(start, 1)[0][0]
        return Step(start=start, cursor=sequence, findings=(self.findings.pop(0),))
