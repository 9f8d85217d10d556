"""Incidents from files: read as they come, ranked as on the line, refused with file, line, value and expectation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_agent.cli import build
from edge_agent.config.catalogue import load_catalogue
from edge_agent.config.incident_files import read_feedback, read_incidents, read_normal
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.open_catalogue import load_catalogues
from edge_agent.domain.evidence import Polarity

ROOT = Path(__file__).parents[2]
PCB = ROOT / "plant_config" / "fmea" / "pcb.yaml"
EXAMPLE = ROOT / "plant_config" / "examples" / "diagnose"


def lines(folder: Path, name: str, *records: object) -> Path:
    file = folder / name
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records) + "\n")
    return file


def diagnosed(*arguments: object) -> list[dict[str, Any]]:
    done = CliRunner().invoke(build("diagnose"), ["diagnose", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return [json.loads(line) for line in done.stdout.splitlines()]


def pump(folder: Path) -> Path:
    """A catalogue of another trade, in its own words: flat lists, wrong signs and all."""
    file = folder / "pump.yaml"
    file.write_text(
        """
causes:
  - {id: seal, symptoms: [leak, "pressure:low"], occurrence: 5}
  - {id: bearing, signatures: [{all: {vibration: 0.8}, any: [noise, "temp:high"]}, [grease-dark]]}
  - {id: impeller, symptoms: {"flow:low": S, vibration: W}}
  - {id: 7, name: strainer, symptoms: ["temp:high", "flow:low"]}
"""
    )
    return file


def test_the_example_runs_as_documented() -> None:
    found = diagnosed(
        "--catalogue", PCB, "--incidents", EXAMPLE / "incidents.jsonl", "--normal", EXAMPLE / "normal.jsonl",
        "--feedback", EXAMPLE / "feedback.jsonl",
    )  # fmt: skip
    assert [one["causes"][0]["cause"] for one in found] == ["A15", "A01", "NONE"]
    for one in found:
        ids = {row["cause"] for row in one["causes"]}
        assert {"NONE", "OTHER", "MEAS"} <= ids
        assert sum(row["p"] for row in one["causes"]) == pytest.approx(1.0, abs=1e-4)
        assert 0 <= one["unknown_score"] <= 1
    assert {term["token"] for term in found[0]["causes"][0]["terms"]} >= {"tel:etch_temp_c-", "class:short"}


def test_the_open_reader_reads_our_own_catalogue_as_the_strict_one_does() -> None:
    assert load_catalogues(PCB)["pcb"] == load_catalogue(PCB)


def test_a_foreign_catalogue_is_ranked_in_its_own_words(tmp_path: Path) -> None:
    incidents = lines(
        tmp_path,
        "incidents.jsonl",
        {"id": "a", "evidence": ["leak", "pressure:low"]},
        {"evidence": {"vibration": True, "noise": 1, "leak": False, "flow:low": None}},
        [{"token": "flow:low"}, {"token": "temp:high", "strength": 0.95}, "!vibration"],
    )
    found = diagnosed("--catalogue", pump(tmp_path), "--incidents", incidents)
    assert [one["causes"][0]["cause"] for one in found] == ["seal", "bearing", "7"]
    assert [one["incident"] for one in found] == ["a", "line-2", "line-3"]


def test_what_is_normal_here_earns_nothing(tmp_path: Path) -> None:
    """The pump always runs hot: heat says nothing for the strainer, and the true cause comes first."""
    incidents = lines(tmp_path, "i.jsonl", {"evidence": ["temp:high", "flow:low", "!vibration"]})
    normal = lines(tmp_path, "n.jsonl", *[{"evidence": ["temp:high", "!flow:low"]} for _ in range(20)])
    alone = diagnosed("--catalogue", pump(tmp_path), "--incidents", incidents)[0]["causes"]
    here = diagnosed("--catalogue", pump(tmp_path), "--incidents", incidents, "--normal", normal)[0]["causes"]

    def odds(rows: list[dict[str, Any]]) -> float:
        p = {row["cause"]: row["p"] for row in rows}
        return float(p["7"] / p["impeller"])

    assert odds(here) < odds(alone) / 2


def test_unmentioned_is_absent_only_where_no_run_says_absent(tmp_path: Path) -> None:
    closed = read_normal(lines(tmp_path, "a.jsonl", {"evidence": ["x"]}, {"evidence": ["y"]}, {"evidence": []}))
    assert (closed.fired["x"], closed.runs["x"]) == (1, 3)
    opened = read_normal(lines(tmp_path, "b.jsonl", {"evidence": ["x", "!y"]}, {"evidence": ["!y"]}))
    assert (opened.fired["x"], opened.runs["x"], opened.runs["y"]) == (1, 1, 2)


def test_feedback_corrects_a_wrong_row(tmp_path: Path) -> None:
    """The catalogue has the seal's sign wrong; confirmed cases say so, and the next one is found."""
    catalogue = tmp_path / "c.yaml"
    catalogue.write_text(
        "causes:\n"
        "  - {id: seal, symptoms: {leak: 0.8, 'pressure:high': 0.8}}\n"
        "  - {id: bearing, symptoms: {leak: 0.6, 'pressure:low': 0.8}}\n"
    )
    seal = {"evidence": ["leak", "pressure:low", "!pressure:high"]}
    bearing = {"evidence": ["!leak", "!pressure:low", "!pressure:high", "noise"]}
    feedback = lines(
        tmp_path,
        "f.jsonl",
        *[{**seal, "cause": "seal"} if n % 2 else {**bearing, "cause": "bearing"} for n in range(16)],
    )
    incidents = lines(tmp_path, "i.jsonl", seal)
    assert diagnosed("--catalogue", catalogue, "--incidents", incidents)[0]["causes"][0]["cause"] == "bearing"
    taught = diagnosed("--catalogue", catalogue, "--incidents", incidents, "--feedback", feedback)[0]
    assert taught["causes"][0]["cause"] == "seal"
    assert "used" in taught["engine"]["learned"]


def test_feedback_may_name_an_incident_instead_of_repeating_it(tmp_path: Path) -> None:
    incidents = read_incidents(lines(tmp_path, "i.jsonl", {"id": "a", "evidence": ["leak"]}))
    (answer,) = read_feedback(
        lines(tmp_path, "f.jsonl", {"id": "a", "cause": {"id": "seal"}, "recovered": False}),
        {one.name: one for one in incidents},
    )
    assert answer.incident is incidents[0]
    assert (answer.cause_id, answer.weight) == ("seal", 0.3)


def test_a_bare_yes_is_trusted_least(tmp_path: Path) -> None:
    answers = read_feedback(
        lines(
            tmp_path,
            "f.jsonl",
            {"evidence": ["leak"], "cause": "seal", "confirms": "yes"},
            {"evidence": ["leak"], "cause": "seal", "confirms": "yes", "action_ids": ["swap"]},
        ),
        {},
    )
    assert answers[0].weight < answers[1].weight


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ('{"evidence": [', "not JSON"),
        ({"id": "a"}, "no evidence"),
        ({"evidence": [{"polarity": "present"}]}, "expected an object with `token`"),
        ({"evidence": [{"token": "x", "polarity": "maybe"}]}, "expected present, absent or unknown"),
        ({"evidence": [{"token": "x", "strength": 7}]}, "expected 0 to 1"),
        ("3", "expected an object"),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path: Path, record: object, said: str) -> None:
    file = lines(tmp_path, "i.jsonl", {"evidence": ["fine"]}, "", record)
    with pytest.raises(InvalidConfiguration) as raised:
        read_incidents(file)
    assert said in str(raised.value)
    assert f"{file}:3:" in str(raised.value)


def test_polarity_unknown_and_zero_say_nothing(tmp_path: Path) -> None:
    (one,) = read_incidents(lines(tmp_path, "i.jsonl", {"evidence": {"x": 0, "y": "unknown", "z": -1}}))
    assert [item.polarity for item in one.evidence] == [Polarity.UNKNOWN, Polarity.UNKNOWN, Polarity.ABSENT]


def test_with_several_catalogues_an_incident_says_which(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"domain: {name}\ncauses: [{{id: {name}-c, symptoms: [x]}}]\n")
    good = lines(tmp_path, "i.jsonl", {"domain": "two", "evidence": ["x"]})
    assert diagnosed("--catalogue", tmp_path, "--incidents", good)[0]["causes"][0]["cause"] == "two-c"
    bad = lines(tmp_path, "j.jsonl", {"evidence": ["x"]})
    done = CliRunner().invoke(build("diagnose"), ["diagnose", "--catalogue", str(tmp_path), "--incidents", str(bad)])
    assert "expected one of one, two" in str(done.exception)


def test_a_foreign_plant_is_learned_from_noisy_feedback(tmp_path: Path) -> None:
    """Eight causes, one row in four wrong, one label in seven wrong: the taught ranking beats the catalogue."""
    random = np.random.default_rng(5)
    tokens = [f"t{n}" for n in range(24)]
    truth = {f"c{n}": random.choice(tokens, 3, replace=False) for n in range(8)}
    rows = []
    for number, (cause, own) in enumerate(truth.items()):
        told = [tokens[(number * 5 + 1) % 24], *own[2:]] if number % 4 == 0 else own
        rows.append(f"  - {{id: {cause}, symptoms: {{{', '.join(f'{t}: 0.8' for t in told)}}}}}")
    catalogue = tmp_path / "c.yaml"
    catalogue.write_text("causes:\n" + "\n".join(rows) + "\n")

    def incident(cause: str) -> dict[str, Any]:
        seen = {t: random.random() < (0.85 if t in truth[cause] else 0.06) for t in tokens}
        return {"evidence": [{"token": t, "polarity": "present" if s else "absent"} for t, s in seen.items()]}

    causes = sorted(truth)
    taught = [(c := str(random.choice(causes)), incident(c)) for _ in range(120)]
    feedback = [{**one, "cause": c if random.random() > 1 / 7 else str(random.choice(causes))} for c, one in taught]
    asked = [(c := str(random.choice(causes)), incident(c)) for _ in range(80)]
    files = ["--catalogue", catalogue, "--incidents", lines(tmp_path, "i.jsonl", *[one for _, one in asked])]
    learned = ["--feedback", lines(tmp_path, "f.jsonl", *feedback)]

    def right(found: list[dict[str, Any]]) -> int:
        return sum(one["causes"][0]["cause"] == c for one, (c, _) in zip(found, asked, strict=True))

    before, after = right(diagnosed(*files)), right(diagnosed(*files, *learned))
    assert after > before + 3
    assert after >= 0.85 * len(asked)
