"""The FMEA catalogue and the priority table: YAML -> domain, all errors at once, each with its line."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import Field, ValidationError

from edge_agent.config.explained import explain
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.located import Located, Path_, Problem, UnreadableFile, read
from edge_agent.config.section import Name, Section
from edge_agent.domain import token as tokens
from edge_agent.domain.cause import (
    NONE,
    OTHER,
    Action,
    Catalogue,
    Cause,
    Check,
    PartNeed,
    Signature,
    TokenExpectation,
)
from edge_agent.domain.priority import PriorityRow, PriorityTable

GRADES = {"S": 0.8, "M": 0.5, "W": 0.25}
SEED_BACKGROUND = {"sp": 0.05, "tm": 0.1, "strat": 0.05, "tel": 0.08, "insp": 0.05, "mix": 0.1}
"""Used until a token's false-trigger rate was measured (scripts/measure_background.py, then the line itself)."""
ELSEWHERE = 0.1
"""The same for tokens of other vocabularies."""
ALWAYS_LIKELY = {"sp:uniform": 0.6, "tm:step": 0.4}
"""What defects look like unless something shapes them: finding it is no evidence, for any cause. (Measured, they are
there almost always; a cause that a row expects to look so would then be punished for it.)"""

M = TypeVar("M", bound=Section)

Rating = Annotated[int, Field(ge=1, le=10)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Expectations = dict[str, Probability]


class SignatureSection(Section):
    """One way a cause shows itself."""

    all: Expectations = {}
    any: Expectations = {}
    none: Expectations = {}


class CheckSection(Section):
    """Something a technician can look at."""

    id: Name
    text: str = Field(min_length=1, max_length=400)
    criterion: str = Field(default="", max_length=200)
    minutes: float = Field(gt=0, le=480)
    loto: bool = False
    lr_pos: float = Field(gt=1, le=1_000)
    """How much likelier the cause is when the check is positive."""
    lr_neg: float = Field(gt=0, lt=1)


class PartSection(Section):
    """A spare part."""

    pn: Name
    qty: float = Field(gt=0, le=10_000)


class ActionSection(Section):
    """What removes a cause."""

    id: Name
    text: str = Field(min_length=1, max_length=400)
    minutes: float = Field(gt=0, le=2_880)
    kind: Literal["contain", "correct", "prevent"] = "correct"
    loto: bool = False
    parts: list[PartSection] = []


class CauseSection(Section):
    """One cause."""

    id: Name
    name: str = Field(min_length=1, max_length=120)
    category: Literal["Man", "Machine", "Material", "Method", "Measurement", "Mother nature"]
    step: Name
    equipment: str = ""
    parent: str | None = None
    occurrence: Rating
    detection: Rating
    classes: dict[str, Literal["S", "M", "W"]] = Field(min_length=1)
    severity: dict[str, Rating] = {}
    signatures: list[SignatureSection] = Field(min_length=1)
    checks: list[CheckSection] = []
    actions: list[ActionSection] = []
    sources: list[str] = []
    status: Literal["seed", "reviewed", "learned"] = "seed"


class CatalogueFile(Section):
    """A catalogue of causes."""

    domain: Name
    version: str
    background_file: Path | None = None
    """Measured false-trigger rates, beside this file."""
    background: dict[str, Probability] = {}
    """Token to its false-trigger rate, where the plant knows better than the measurement."""
    families: dict[Name, list[str]] = {}
    severity: dict[str, Rating] = Field(min_length=1)
    causes: list[CauseSection] = Field(min_length=1)


class BackgroundFile(Section):
    """Measured false-trigger rates."""

    measured: str = ""
    background: dict[str, Probability]


def load_catalogue(path: Path) -> Catalogue:
    """Load and check a catalogue.

    Raises:
        InvalidConfiguration: with all problems found: wrong values, unknown tokens, causes that can never be found.
    """
    problems: list[Problem] = []
    located, parsed = _parse(path, CatalogueFile, problems)
    measured: dict[str, float] = {}
    digest = hashlib.sha256(located.raw if located else b"")
    if located and parsed:
        problems.extend(_lint(located, parsed))
        if parsed.background_file:
            source, background = _parse(path.parent / parsed.background_file, BackgroundFile, problems)
            measured = dict(background.background) if background else {}
            digest.update(source.raw if source else b"")
    if problems or parsed is None:
        raise InvalidConfiguration(problems)
    return as_catalogue(parsed, measured, version=f"{parsed.version}+{digest.hexdigest()[:8]}")


def unused_signals(catalogue: Catalogue, signals: set[str]) -> list[str]:
    """Signals that causes expect and the plant does not deliver: evidence that will stay unknown. For `check`."""
    expected = {tokens.signal_of(token) for token in catalogue.background}
    return sorted(signal for signal in expected if signal and signal not in signals)


def load_priority_table(path: Path | None) -> PriorityTable:
    """Load and check a priority table; None gives the product's own starting point.

    Raises:
        InvalidConfiguration: with all problems found, among them ratings that no row covers.
    """
    if path is None:
        return _as_table(PriorityFile.model_validate(STARTING_TABLE))
    problems: list[Problem] = []
    located, parsed = _parse(path, PriorityFile, problems)
    if located and parsed:
        problems.extend(_gaps(located, parsed))
    if problems or parsed is None:
        raise InvalidConfiguration(problems)
    return _as_table(parsed)


# --- catalogue ------------------------------------------------------------------------------------------------------


def _parse(path: Path, model: type[M], problems: list[Problem]) -> tuple[Located | None, M | None]:
    try:
        located = read(path)
        return located, model.model_validate(located.data)
    except UnreadableFile as error:
        problems.append(error.problem)
        return None, None
    except ValidationError as error:
        problems.extend(explain(read(path), error))
        return None, None


class _Complain(Protocol):
    def __call__(self, key: Path_, message: str) -> None: ...


def _lint(located: Located, parsed: CatalogueFile) -> list[Problem]:
    problems: list[Problem] = []

    def complain(key: Path_, message: str) -> None:
        dotted = ".".join(str(part) for part in key)
        problems.append(Problem(file=located.file, line=located.line_of(key), key=dotted, message=message))

    seen: set[str] = set()
    ids = {cause.id for cause in parsed.causes}
    for index, cause in enumerate(parsed.causes):
        key: Path_ = ("causes", index)
        if cause.id in seen or cause.id in {NONE, OTHER}:
            complain((*key, "id"), f"cause {cause.id!r} is already defined, or reserved")
        seen.add(cause.id)
        if cause.parent is not None and cause.parent not in ids:
            complain((*key, "parent"), f"no cause {cause.parent!r}")
        _lint_classes(cause, key, parsed.severity, complain)
        _lint_signatures(cause, key, complain)
    for family, codes in parsed.families.items():
        for code in set(codes) - set(parsed.severity):
            complain(("families", family), f"class {code!r} has no severity")
    return problems


def _lint_classes(cause: CauseSection, key: Path_, severity: Mapping[str, int], complain: _Complain) -> None:
    for code in cause.classes:
        if code not in severity:
            complain((*key, "classes", code), f"class {code!r} has no severity: expected one of {sorted(severity)}")


def _lint_signatures(cause: CauseSection, key: Path_, complain: _Complain) -> None:
    for number, signature in enumerate(cause.signatures):
        place: Path_ = (*key, "signatures", number)
        for part in ("all", "any", "none"):
            for name in getattr(signature, part):
                if not tokens.well_formed(name):
                    complain((*place, part, name), f"no tool finds {name!r}")
        if not signature.all and not signature.any:
            complain(place, "needs something in all or any: nothing can speak for it")
        both = (set(signature.all) | set(signature.any)) & set(signature.none)
        if both:
            complain(place, f"{sorted(both)} are both expected and excluded: it can never be seen")


def as_catalogue(parsed: CatalogueFile, measured: Mapping[str, float], *, version: str) -> Catalogue:
    """The domain's catalogue; its background covers every token that some cause expects."""
    causes = tuple(_as_cause(section) for section in parsed.causes)
    vocabulary = sorted(
        {
            expectation.token
            for cause in causes
            for signature in cause.signatures
            for expectation in (*signature.all_of, *signature.any_of, *signature.none_of)
        }
    )
    known = {**measured, **ALWAYS_LIKELY, **parsed.background}
    return Catalogue(
        domain=parsed.domain,
        version=version,
        causes=causes,
        severity=dict(parsed.severity),
        background={
            token: known.get(token, SEED_BACKGROUND.get(token.partition(":")[0], ELSEWHERE)) for token in vocabulary
        },
        families={name: tuple(codes) for name, codes in parsed.families.items()},
    )


def _as_cause(section: CauseSection) -> Cause:
    return Cause(
        cause_id=section.id,
        name=section.name,
        category_6m=section.category,
        process_step=section.step,
        occurrence=section.occurrence,
        detection=section.detection,
        classes={code: GRADES[grade] if isinstance(grade, str) else grade for code, grade in section.classes.items()},
        signatures=tuple(
            Signature(all_of=_expect(s.all), any_of=_expect(s.any), none_of=_expect(s.none)) for s in section.signatures
        ),
        checks=tuple(_as_check(check) for check in section.checks),
        actions=tuple(_as_action(action) for action in section.actions),
        equipment=section.equipment,
        parent_cause=section.parent,
        severity_by_class=dict(section.severity),
        sources=tuple(section.sources),
        status=section.status,
    )


def _expect(expectations: Expectations) -> tuple[TokenExpectation, ...]:
    return tuple(TokenExpectation(token=token, p=p) for token, p in expectations.items())


def _as_check(section: CheckSection) -> Check:
    return Check(
        check_id=section.id,
        text=section.text,
        minutes=section.minutes,
        lr_pos=section.lr_pos,
        lr_neg=section.lr_neg,
        loto=section.loto,
        criterion=section.criterion,
    )


def _as_action(section: ActionSection) -> Action:
    return Action(
        action_id=section.id,
        text=section.text,
        minutes=section.minutes,
        kind=section.kind,
        parts=tuple(PartNeed(part_number=part.pn, quantity=part.qty) for part in section.parts),
        loto=section.loto,
    )


# --- priority table -------------------------------------------------------------------------------------------------

Band = Annotated[str, Field(pattern=r"^\d{1,2}(-\d{1,2})?$")]


class PriorityRowSection(Section):
    """One severity band."""

    severity: tuple[Rating, Rating]
    occurrence: dict[Band, Annotated[str, Field(pattern=r"^[HML]{4}$")]]
    """Occurrence band (``8-10``, ``1``) to four letters: detection 7-10, 5-6, 2-4, 1."""


class PriorityFile(Section):
    """The plant's action-priority table."""

    rows: list[PriorityRowSection] = Field(min_length=1)
    occurrence_from_rate: dict[Rating, Annotated[float, Field(gt=0, le=1)]]
    now_severity: Rating = 9
    now_scrap_rate: float = Field(default=0.05, gt=0, le=1)
    due_hours: dict[Annotated[int, Field(ge=1, le=4)], Annotated[float, Field(ge=0)]]


STARTING_TABLE = {
    "rows": [
        {"severity": [9, 10], "occurrence": {"8-10": "HHHH", "6-7": "HHHH", "4-5": "HHHM", "2-3": "HMLL", "1": "LLLL"}},
        {"severity": [7, 8], "occurrence": {"8-10": "HHHH", "6-7": "HHHM", "4-5": "HMMM", "2-3": "MMLL", "1": "LLLL"}},
        {"severity": [4, 6], "occurrence": {"8-10": "HHMM", "6-7": "MMML", "4-5": "MLLL", "2-3": "LLLL", "1": "LLLL"}},
        {"severity": [2, 3], "occurrence": {"8-10": "MMLL", "6-7": "LLLL", "4-5": "LLLL", "2-3": "LLLL", "1": "LLLL"}},
        {"severity": [1, 1], "occurrence": {"8-10": "LLLL", "6-7": "LLLL", "4-5": "LLLL", "2-3": "LLLL", "1": "LLLL"}},
    ],
    "occurrence_from_rate": {
        10: 0.1,
        9: 0.05,
        8: 0.02,
        7: 0.01,
        6: 0.005,
        5: 0.002,
        4: 0.001,
        3: 0.0001,
        2: 0.000001,
    },
    "due_hours": {1: 0, 2: 8, 3: 24, 4: 168},
}
"""Judgement, to be replaced by the plant's licensed table; plant_config/fmea/priority_table.yaml says the same."""


def _span(band: str) -> tuple[int, int]:
    first, _, last = band.partition("-")
    low, high = sorted((int(first), int(last or first)))
    return low, high


def _gaps(located: Located, parsed: PriorityFile) -> list[Problem]:
    def problem(key: Path_, message: str) -> Problem:
        return Problem(file=located.file, line=located.line_of(key), key=str(key[0]), message=message)

    problems: list[Problem] = []
    for rating in range(1, 11):
        if not any(row.severity[0] <= rating <= row.severity[1] for row in parsed.rows):
            problems.append(problem(("rows",), f"no row covers severity {rating}"))
    for index, row in enumerate(parsed.rows):
        spans = [_span(band) for band in row.occurrence]
        missing = [r for r in range(1, 11) if not any(low <= r <= high for low, high in spans)]
        if missing:
            problems.append(problem(("rows", index, "occurrence"), f"no letters for occurrence {missing}"))
    missing_due = {1, 2, 3, 4} - set(parsed.due_hours)
    if missing_due:
        problems.append(problem(("due_hours",), f"no time for priority {sorted(missing_due)}"))
    return problems


def _as_table(parsed: PriorityFile) -> PriorityTable:
    return PriorityTable(
        rows=tuple(
            PriorityRow(
                severity=row.severity,
                by_occurrence=tuple((_span(band), letters) for band, letters in row.occurrence.items()),
            )
            for row in parsed.rows
        ),
        occurrence_from_rate=dict(parsed.occurrence_from_rate),
        now_severity=parsed.now_severity,
        now_scrap_rate=parsed.now_scrap_rate,
        due={priority: timedelta(hours=hours) for priority, hours in parsed.due_hours.items()},
    )
