"""Every rule of the validator accepts and rejects; no foreign number ever passes."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.responding import prompt
from edge_agent.responding.placeholders import brief
from edge_agent.responding.validator import DOWN, GENERAL, UP, Note, Violation, check
from tests.fakes.clock import FakeClock
from tests.fakes.notes import HOSTILE, TRUE, a_brief, an_answer
from tests.fakes.seeded_analyses import seeded, shipped_catalogue

BRIEF = a_brief()
FIT = " (E1), which fits {cause}."


def rules(draft: str) -> set[str]:
    found = check(draft, BRIEF)
    return set() if isinstance(found, Note) else {violation.rule for violation in found}


def test_a_true_note_passes_and_is_expanded() -> None:
    found = check(an_answer(), BRIEF)
    assert isinstance(found, Note)
    assert found.text == (
        "Expo energy fell from 45.2 mJ/cm2 to 40.9 mJ/cm2 (E1) and the defects are spread evenly over the part (E2), "
        "which fits Lamp aged."
    )
    assert (found.citations, found.against) == (("E1", "E2"), ("E3",))


@pytest.mark.parametrize(
    ("text", "citations", "against"),
    [
        ("{cause} is likely: expo energy fell (E1).", ["E1"], ["E3"]),
        ("Expo energy fell to 40.93 (E1), which fits {cause}.", ["E1"], ["E4"]),
        ("Expo energy fell to 40.9 (E1), which fits {cause}.", ["E1"], ["E3"]),
        ("Expo energy fell to 41 (E1), which fits {cause}.", ["E1"], ["E3"]),
        ("Expo energy dropped from {E1.before} (E1), which supports {cause}.", ["E1"], ["E3", "E4"]),
        ("The rate rose to {incident.rate}, normally {incident.normal}, and E1 fits {cause}.", ["E1"], ["E3"]),
        (
            "{incident.class} defects on {incident.defective} of {incident.parts} parts fit {cause} (E2).",
            ["E2"],
            ["E3"],
        ),
        ("The suspected cause is {cause}, as E1 shows.", ["E1"], ["E3"]),
        ("E1 and E2 fit {cause}; E3 speaks against it.", ["E1", "E2"], ["E3"]),
        ("The lamp aged at exposure is {cause}, as E1 shows.", ["E1", "E1"], ["E3"]),
    ],
)
def test_accepted(text: str, citations: list[str], against: list[str]) -> None:
    assert rules(an_answer(text, citations, against)) == set()


@pytest.mark.parametrize(
    ("rule", "draft"),
    [
        ("V1.json", ""),
        ("V1.json", "not json"),
        ("V1.json", an_answer()[:-4]),
        ("V1.json", '{"text":"a\nb","citations":["E1"],"against":["E3"]}'),
        ("V1.json", "[" * 100_000),
        ("V1.schema", "[]"),
        ("V1.schema", '"text"'),
        ("V1.schema", '{"text":"x","citations":["E1"]}'),
        ("V1.schema", '{"text":"x","citations":["E1"],"against":[],"priority":1}'),
        ("V1.schema", '{"text":["x"],"citations":["E1"],"against":[]}'),
        ("V1.schema", '{"text":"x","citations":"E1","against":[]}'),
        ("V1.schema", '{"text":"x","citations":[1],"against":[]}'),
        ("V1.schema", '{"text":"x","citations":[["E1"]],"against":[]}'),
    ],
)
def test_form_of_the_answer(rule: str, draft: str) -> None:
    assert rules(draft) == {rule}


@pytest.mark.parametrize(
    ("rule", "text", "citations", "against"),
    [
        ("V2.choice", "Worn roller is the cause (E1), which fits {cause}.", ["E1"], ["E3"]),
        ("V2.choice", "The cause is K2" + FIT, ["E1"], ["E3"]),
        ("V3.citation", TRUE, [], ["E3"]),
        ("V3.citation", TRUE, ["E1", "E2", "E9"], ["E3"]),
        ("V3.citation", TRUE, ["E1", "E2", "E5"], ["E3"]),  # unknown: the sensor was missing
        ("V3.citation", TRUE, ["E1"], ["E3"]),  # E2 is in the text and not cited
        ("V3.citation", "Expo energy fell to {E1.value}, and E2 fits {cause}.", ["E2"], ["E3"]),
        ("V4.placeholder", "Expo energy fell to {E1.sigma}" + FIT, ["E1"], ["E3"]),
        ("V4.placeholder", "Expo energy fell to {}" + FIT, ["E1"], ["E3"]),
        ("V4.placeholder", "Expo energy fell from {E1.value} to {E1.before}" + FIT, ["E1"], ["E3"]),
        ("V4.placeholder", "The rate is {incident.normal}, normally {incident.rate}, E1 fits {cause}.", ["E1"], ["E3"]),
        ("V4.placeholder", "Seen on {incident.parts} of {incident.defective} parts" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to 12.5" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to 4" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to 40" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to 40,9" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to 40.93e2" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell at 10:42" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to ４０.９" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell by ½" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell by half" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Two parts changed" + FIT, ["E1"], ["E3"]),
        ("V4.number", "Expo energy fell to 40.9 (E2), which fits {cause}.", ["E2"], ["E3"]),  # true, but not of E2
        ("V5.direction", "Expo energy rose to {E1.value}" + FIT, ["E1"], ["E3"]),
        ("V5.direction", "Expo energy fell and rose to {E1.value}" + FIT, ["E1"], ["E3"]),
        ("V5.direction", "The defects fell (E2), which fits {cause}.", ["E2"], ["E3"]),
        ("V5.direction", "The rate fell to {incident.rate}, and E1 fits {cause}.", ["E1"], ["E3"]),
        ("V5.polarity", "The etch temp rose (E4), and E1 fits {cause}.", ["E1"], ["E4"]),
        ("V6.entailment", "E3 fits {cause}, and E1 too.", ["E1", "E3"], ["E3"]),
        ("V6.entailment", TRUE, ["E1", "E2", "E6"], ["E3"]),  # moves nothing
        ("V6.entailment", "E3 supports {cause}, as does E1.", ["E1"], ["E3"]),
        ("V6.entailment", "E1 speaks against {cause}.", ["E1"], ["E3"]),
        ("V6.entailment", "E1, a likely cause of {cause}.", ["E1"], ["E3"]),
        ("V6.entailment", "{cause} is caused by expo energy (E1).", ["E1"], ["E3"]),
        ("V7.against", TRUE, ["E1", "E2"], []),
        ("V8.vocabulary", "The pump leaks" + FIT, ["E1"], ["E3"]),
        ("V8.vocabulary", "Replace the lamp" + FIT, ["E1"], ["E3"]),
        ("V8.vocabulary", "Lock out the machine before work" + FIT, ["E1"], ["E3"]),
        ("V8.vocabulary", "It is certain" + FIT, ["E1"], ["E3"]),
        ("V8.vocabulary", "Expo energy did not fall" + FIT, ["E1"], ["E3"]),
        ("V8.vocabulary", HOSTILE + FIT, ["E1"], ["E3"]),
        ("V8.grade", "It is very likely" + FIT, ["E1"], ["E3"]),
        ("V8.grade", "It is possible" + FIT, ["E1"], ["E3"]),
        ("V8.binding", "Expo energy is spread evenly (E2), which fits {cause}.", ["E2"], ["E3"]),
        ("V8.binding", "Expo energy at {incident.rate} fits {cause} as in E1.", ["E1"], ["E3"]),
        ("V9.length", "{cause} (E1).", ["E1"], ["E3"]),
        ("V9.length", "The facts fit, " * 30 + "as E1 shows {cause}.", ["E1"], ["E3"]),
        ("V9.form", "Expo energy fell (E1), which fits {cause}", ["E1"], ["E3"]),
        ("V9.form", "Expo energy fell (E1), which fits {cause}\x07.", ["E1"], ["E3"]),
        ("V9.form", "Expo energy fell (E1), which fits {cause} – yes.", ["E1"], ["E3"]),
        ("V9.markup", "<b>Expo energy fell</b>" + FIT, ["E1"], ["E3"]),
        ("V9.markup", "[Expo energy](evidence) fell" + FIT, ["E1"], ["E3"]),
        ("V9.markup", "Expo energy fell, see www.evidence.com" + FIT, ["E1"], ["E3"]),
        ("V9.markup", "Expo energy fell {" + FIT, ["E1"], ["E3"]),
        ("V9.aim", "Expo energy fell as the facts show.", ["E1"], ["E3"]),
        ("V9.aim", "The facts fit {cause} as we found.", ["E1"], ["E3"]),
        ("V9.repetition", "The facts fit the facts and the facts fit the facts" + FIT, ["E1"], ["E3"]),
        ("V9.repetition", "E1 E1 E1 fits {cause} as the facts show.", ["E1"], ["E3"]),
    ],
)
def test_refused(rule: str, text: str, citations: list[str], against: list[str]) -> None:
    assert rule in rules(an_answer(text, citations, against))


def test_every_rule_is_told_without_quoting_the_model() -> None:
    draft = an_answer("Pump seven leaks <b>", ["E9"], [])
    found = check(draft, BRIEF)
    assert isinstance(found, tuple)
    assert len(found) > 4
    assert not any("ump" in violation.text or "leak" in violation.text for violation in found)


# --- invariants -----------------------------------------------------------------------------------------------------

figures = st.one_of(
    st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda x: f"{x:g}"),
    st.integers(min_value=0, max_value=10**9).map(str),
    st.integers(min_value=0, max_value=9_999).map(lambda x: f"{x:,}"),
    st.sampled_from("٣ ⅔ ④ ² Ⅳ twelve half dozen 1/3 1e3 10:42 0x1F 4O.9 12% ×3 3rd 2x".split()),  # noqa: SIM905
    st.characters(categories=["Nd", "Nl", "No"]),
)
plain = st.sampled_from([*sorted(GENERAL - UP - DOWN), "{cause}", "(E1)", "(E2)", "{E1.value}"])


@given(
    words=st.lists(plain, min_size=2, max_size=12),
    figure=figures,
    place=st.integers(min_value=0, max_value=99),
    glue=st.sampled_from(["", " "]),
)
def test_no_foreign_number_ever_passes(words: list[str], figure: str, place: int, glue: str) -> None:
    words.insert(place % len(words), figure)
    text = glue.join(words) if glue else " ".join(words).replace(f" {figure}", figure)
    found = check(an_answer(f"Expo energy fell (E1), which fits {{cause}}, {text}."), BRIEF)
    if isinstance(found, Note):
        own = {"40.93", "40.9", "41", "45.2", "45"}
        left = re.sub(r"\{[^}]*\}|\bE\d\b", " ", json.loads(found.draft)["text"])
        assert set(re.findall(r"[^\s,;()]*\d[^\s,;()]*", left.rstrip("."))) <= own


@given(st.text(max_size=300))
def test_any_text_is_answered_and_never_raises(text: str) -> None:
    assert isinstance(check(text, BRIEF), (Note, tuple))
    found = check(an_answer(text), BRIEF)
    assert isinstance(found, Note) or all(isinstance(one, Violation) for one in found)


@pytest.mark.parametrize("seed", range(40))
def test_every_guided_sentence_is_true(seed: int) -> None:
    """The second try may choose among these only, so all must pass: for every cause of the shipped catalogue."""
    catalogue = shipped_catalogue()
    analysis, incident = seeded(catalogue, seed, FakeClock())
    about = brief(analysis, incident, catalogue)
    if about is None:
        assert not any(term.delta > 0.05 for term in analysis.hypotheses[0].terms) or (
            analysis.hypotheses[0].cause_id in {"NONE", "OTHER"}
        )
        return
    facts, links, ends = prompt.sentence_parts(about)
    for (fact, keys), link, end in itertools.product(facts.items(), links, ends):
        draft = an_answer(fact + link + end, keys, about.speaks_against)
        assert isinstance(check(draft, about), Note), (draft, check(draft, about))


@pytest.mark.parametrize("seed", range(30))
def test_nothing_the_plant_typed_enters_the_prompt(seed: int) -> None:
    catalogue = shipped_catalogue()
    analysis, incident = seeded(catalogue, seed, FakeClock())
    about = brief(analysis, incident, catalogue)
    if about is not None:
        task = prompt.task(about, max_tokens=160, refused=("x",))
        assert "IGNORE" not in task.prompt + task.system + task.grammar


def test_the_prompt_reads_as_agreed() -> None:
    task = prompt.task(BRIEF, max_tokens=99)
    assert (
        task.prompt
        == (
            "INCIDENT\n"
            "{incident.class} defects on {incident.defective} of {incident.parts} parts, rate {incident.rate}, "
            "normally {incident.normal}\n"
            "CANDIDATES\n"
            "K1 | Lamp aged | expo energy fell; spread evenly over the part\n"
            "K2 | Worn roller | the same place on several parts; spread evenly over the part; after a lot change\n"
            "SUSPECT {cause}, which is K1: likely\n"
            "EVIDENCE\n"
            "E1 | for | expo energy fell from {E1.before} to {E1.value} | strong\n"
            "E2 | for | spread evenly over the part | strong\n"
            "E3 | against | after a lot change | strong\n"
            "E4 | against | not seen: etch temp rose | strong\n"
            "ANSWER"
        )
        or "K1 | Worn roller" in task.prompt
    )
    assert task.system == prompt.SYSTEM
    assert task.max_tokens == 99
    assert HOSTILE not in task.prompt


def test_the_schema_says_what_the_validator_wants() -> None:
    schema = prompt.schema(BRIEF)
    assert schema["properties"]["citations"]["items"]["enum"] == ["E1", "E2"]
    assert schema["properties"]["against"] == {
        "type": "array",
        "items": {"type": "string", "enum": ["E3", "E4"]},
        "minItems": 1,
        "maxItems": 2,
    }
