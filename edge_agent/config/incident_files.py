"""Incidents, normal observations and feedback from JSON lines: tolerant in form, exact in what is wrong.

All problems of a file are reported at once, each with file, line, the value found and what was expected.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.located import Problem
from edge_agent.domain.evidence import Evidence, Polarity

T = TypeVar("T")

STRENGTH = 0.9
"""Of an item that does not say how sure it is."""
ITEMS = ("evidence", "items", "tokens", "observations", "findings")
IDS = ("id", "incident_id", "incident", "name")
CAUSES = ("cause", "cause_id", "confirmed_cause", "confirmed", "actual_cause", "truth", "label")
WORDS = {
    "present": Polarity.PRESENT,
    "yes": Polarity.PRESENT,
    "true": Polarity.PRESENT,
    "+": Polarity.PRESENT,
    "absent": Polarity.ABSENT,
    "no": Polarity.ABSENT,
    "false": Polarity.ABSENT,
    "-": Polarity.ABSENT,
    "unknown": Polarity.UNKNOWN,
    "missing": Polarity.UNKNOWN,
    "?": Polarity.UNKNOWN,
}
CONFIDENCE = {"sure": 1.0, "confirmed": 1.0, "likely": 0.5, "guess": 0.2}
LAZY, FAILED = 0.3, 0.3
"""Trust in a bare "yes, the first suspect"; factor when the rate did not fall after the action."""
MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenIncident:
    """One incident of a file.

    Attributes:
        domain: which catalogue it belongs to; empty: the only one.
        excess: how far the rate's statistic is above its threshold (log units); None: not said.
    """

    name: str
    evidence: tuple[Evidence, ...]
    line: int
    domain: str = ""
    excess: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """A confirmed cause: what was seen, what it was, and how far to trust that."""

    incident: GivenIncident
    cause_id: str
    weight: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalRuns:
    """Background observations: token to how often it was there, and how often it was looked for."""

    fired: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, float] = field(default_factory=dict)


class _Wrong(Exception):
    """One value that cannot be used."""


def read_incidents(file: Path) -> list[GivenIncident]:
    """The incidents of a file.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    return _each(file, lambda record, line: _incident(record, line))


def read_feedback(file: Path, incidents: Mapping[str, GivenIncident]) -> list[GivenAnswer]:
    """Confirmed causes in the order given. One without evidence means the incident of that id.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    return _each(file, lambda record, line: _answer(record, line, incidents))


def read_normal(file: Path) -> NormalRuns:
    """How often each token was there on normal runs.

    Where no run of the file says that something was absent, a token that a run does not name was absent in it.

    Raises:
        InvalidConfiguration: with all problems found.
    """
    rows = _each(file, _normal)
    fired: dict[str, float] = {}
    runs: dict[str, float] = {}
    seen = [row for row in rows if not isinstance(row, NormalRuns)]
    for row in rows:
        if isinstance(row, NormalRuns):
            for token, count in row.runs.items():
                fired[token] = fired.get(token, 0.0) + row.fired.get(token, 0.0)
                runs[token] = runs.get(token, 0.0) + count
    names = sorted({one.token for row in seen for one in row if one.token})
    closed = not any(one.polarity is Polarity.ABSENT for row in seen for one in row)
    for row in seen:
        said = {one.token: one for one in row}
        for token in names:
            one = said.get(token)
            polarity = one.polarity if one else Polarity.ABSENT if closed else Polarity.UNKNOWN
            if polarity is Polarity.UNKNOWN:
                continue
            present = polarity is Polarity.PRESENT
            fired[token] = fired.get(token, 0.0) + present
            runs[token] = runs.get(token, 0.0) + 1
    return NormalRuns(fired=fired, runs=runs)


# --- lines ----------------------------------------------------------------------------------------------------------


def _each(file: Path, understand: Callable[[Any, int], T]) -> list[T]:
    problems: list[Problem] = []
    found: list[T] = []
    for line, record in _records(file, problems):
        try:
            found.append(understand(record, line))
        except _Wrong as wrong:
            problems.append(Problem(file=file, line=line, key="", message=str(wrong)))
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        raise InvalidConfiguration(problems)
    return found


def _records(file: Path, problems: list[Problem]) -> Iterator[tuple[int, Any]]:
    """(line, value) of JSON lines; a file that is one JSON array gives its elements."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(file=file, line=0, key="", message=f"cannot be read: {error}"))
        return
    if text.lstrip().startswith("[") and (whole := _array(text)) is not None:
        yield from enumerate(whole, start=1)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(file=file, line=number, key="", message=f"not JSON: {error}: {line[:60]!r}"))
            if len(problems) >= MAX_PROBLEMS:
                return


def _array(text: str) -> list[Any] | None:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return None
    records = isinstance(whole, list) and all(isinstance(one, dict | list) for one in whole)
    return whole if records and any(isinstance(one, dict) and "token" not in one for one in whole) else None


# --- records --------------------------------------------------------------------------------------------------------


def _incident(record: Any, line: int) -> GivenIncident:
    if isinstance(record, list):
        record = {"evidence": record}
    if not isinstance(record, dict):
        raise _Wrong(f"found {_short(record)}, expected an object with `evidence`")
    inner = record.get("incident")
    if isinstance(inner, dict):
        record = {**inner, **{key: value for key, value in record.items() if key != "incident"}}
    items = next((record[key] for key in ITEMS if key in record), None)
    if items is None:
        raise _Wrong(f"no evidence: expected one of {', '.join(ITEMS)}; found the keys {sorted(record)}")
    name = next((str(record[key]) for key in IDS if isinstance(record.get(key), str | int)), f"line-{line}")
    statistic, threshold = _figure(record, "statistic"), _figure(record, "threshold")
    return GivenIncident(
        name=name,
        evidence=_evidence(items, record.get("classes", record.get("class_counts"))),
        line=line,
        domain=str(record.get("domain", "")),
        excess=statistic - threshold if statistic and threshold else None,
    )


def _answer(record: Any, line: int, incidents: Mapping[str, GivenIncident]) -> GivenAnswer:
    if not isinstance(record, dict):
        raise _Wrong(f"found {_short(record)}, expected an object with `evidence` and `cause`")
    cause = next((record[key] for key in CAUSES if record.get(key) is not None), None)
    if isinstance(cause, dict):
        cause = next((cause[key] for key in ("id", *CAUSES) if cause.get(key) is not None), None)
    if isinstance(cause, bool) or not isinstance(cause, str | int):
        raise _Wrong(f"no confirmed cause: found {_short(cause)} under {', '.join(CAUSES)}, expected a cause's id")
    name = next((str(record[key]) for key in IDS if isinstance(record.get(key), str | int)), "")
    given = any(key in record for key in ITEMS) or isinstance(record.get("incident"), dict)
    if not given and name not in incidents:
        raise _Wrong(f"no evidence, and no incident {name!r} among the incidents: expected one of the two")
    incident = _incident(record, line) if given else incidents[name]
    return GivenAnswer(
        incident=incident, cause_id=str(cause), weight=_trust(record), text=str(record.get("text", ""))[:200]
    )


def _trust(record: Mapping[str, Any]) -> float:
    """How far a label is trusted: its weight where given, else by what is said about how it was found."""
    given = record.get("weight")
    confidence = record.get("confidence")
    if isinstance(given, int | float) and not isinstance(given, bool):
        weight = float(given)
    elif isinstance(confidence, str):
        if confidence.lower() not in CONFIDENCE:
            raise _Wrong(f"confidence: found {confidence!r}, expected {', '.join(CONFIDENCE)} or a number")
        weight = CONFIDENCE[confidence.lower()]
    elif isinstance(confidence, int | float) and not isinstance(confidence, bool):
        weight = float(confidence)
    else:
        lazy = record.get("confirms") == "yes" and not (record.get("action_ids") or record.get("parts"))
        weight = LAZY if lazy else 1.0
    if not 0 <= weight <= 1:
        raise _Wrong(f"weight: found {weight}, expected 0 to 1")
    return weight * (FAILED if record.get("recovered") is False else 1.0)


def _normal(record: Any, line: int) -> tuple[Evidence, ...] | NormalRuns:
    if isinstance(record, dict) and not any(key in record for key in (*ITEMS, "incident")):
        return _counts(record)
    return _incident(record, line).evidence


def _counts(record: Mapping[str, Any]) -> NormalRuns:
    """``{"token", "fired", "runs"}`` or ``{"token", "rate", "runs"}``."""
    token = record.get("token")
    if not isinstance(token, str) or "runs" not in record or not record.keys() & {"fired", "rate"}:
        raise _Wrong(f"found the keys {sorted(record)}, expected `evidence`, or `token`, `fired` and `runs`")
    runs = _figure(record, "runs")
    fired = _figure(record, "fired") if "fired" in record else _figure(record, "rate") * runs
    if not 0 <= fired <= runs:
        raise _Wrong(f"fired: found {fired}, expected 0 to {runs}")
    return NormalRuns(fired={token: fired}, runs={token: runs})


# --- items ----------------------------------------------------------------------------------------------------------


def _evidence(items: Any, classes: Any) -> tuple[Evidence, ...]:
    if isinstance(items, dict):
        items = [{"token": token, **_sided(value)} for token, value in items.items()]
    if not isinstance(items, list):
        raise _Wrong(f"evidence: found {_short(items)}, expected a list of items")
    found = [_item(one, place) for place, one in enumerate(items, start=1)]
    told = {one.token for one in found}
    risen = [f"class:{code}" for code in classes] if isinstance(classes, list | dict) else []
    found += [
        _fact(f"C{place}", token, Polarity.PRESENT, STRENGTH)
        for place, token in enumerate(risen, start=1)
        if token not in told
    ]
    return tuple(found)


def _sided(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {"polarity": value}


def _item(one: Any, place: int) -> Evidence:
    if isinstance(one, str):
        absent = one.startswith("!")
        return _fact(f"E{place}", one.lstrip("!"), Polarity.ABSENT if absent else Polarity.PRESENT, STRENGTH)
    if isinstance(one, list) and one and isinstance(one[0], str):
        one = dict(zip(("token", "polarity", "strength"), one, strict=False))
    if not isinstance(one, dict) or not isinstance(one.get("token"), str) or not one["token"]:
        raise _Wrong(f"evidence item {place}: found {_short(one)}, expected an object with `token`")
    polarity = _polarity(one, place)
    strength = one.get("strength")
    if strength is None:
        strength = STRENGTH
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
        raise _Wrong(f"evidence item {place} ({one['token']}): strength: found {strength!r}, expected 0 to 1")
    with_what = one.get("confounded_with") or (("?",) if one.get("confounded") else ())
    return _fact(
        str(one.get("id") or f"E{place}"),
        one["token"],
        polarity,
        float(strength),
        confounded_with=tuple(map(str, with_what)) if isinstance(with_what, list | tuple) else (str(with_what),),
        statement=str(one.get("statement", "")),
    )


def _polarity(one: Mapping[str, Any], place: int) -> Polarity:
    value = one.get("polarity", one.get("present", True))
    if value is None:
        return Polarity.UNKNOWN
    if isinstance(value, bool | int | float):
        if value == 0 and value is not False:
            return Polarity.UNKNOWN
        return Polarity.PRESENT if value > 0 else Polarity.ABSENT
    word = WORDS.get(str(value).strip().lower())
    if word is None:
        raise _Wrong(
            f"evidence item {place} ({one['token']}): polarity: found {value!r}, expected present, absent or unknown"
        )
    return word


def _fact(
    evidence_id: str,
    token: str,
    polarity: Polarity,
    strength: float,
    confounded_with: tuple[str, ...] = (),
    statement: str = "",
) -> Evidence:
    return Evidence(
        evidence_id=evidence_id,
        tool="file@1",
        token=token,
        statement=statement,
        polarity=polarity,
        strength=min(strength, 0.999),
        n=1,
        confounded_with=confounded_with,
    )


def _figure(record: Mapping[str, Any], key: str) -> float:
    value = record.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(f"{key}: found {value!r}, expected a number")
    return float(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
