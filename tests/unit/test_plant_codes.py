"""The plant's own codes: out in its words, back in ours, and no mapping that could be read in two ways."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.config import load
from edge_agent.config.catalogue import load_catalogue
from edge_agent.config.load import InvalidConfiguration
from edge_agent.config.plant_codes import plant_codes
from edge_agent.contract import inbound, outbound, topics
from edge_agent.domain.message import InboundMessage
from edge_agent.domain.plant_codes import PlantCodes
from tests.fakes import plant_samples
from tests.fakes.clock import FakeClock

PLANT = Path(__file__).resolve().parents[2] / "plant_config"
CATALOGUE = load_catalogue(PLANT / "fmea" / "pcb.yaml")
CAUSE, OTHER = CATALOGUE.causes[0], CATALOGUE.causes[1]
CLASS = next(iter(CATALOGUE.severity))


def checked(folder: Path, text: str) -> PlantCodes:
    shutil.copytree(PLANT, folder / "plant_config")
    example = folder / "plant_config" / "examples" / "folder"
    (example / "plant.yaml").write_text((example / "plant.yaml").read_text() + "\n" + text)
    configuration = load(example)
    return plant_codes(configuration, CATALOGUE)


def test_nothing_configured_changes_nothing(tmp_path: Path) -> None:
    codes = checked(tmp_path, "")
    assert codes == PlantCodes()
    assert codes.cause("X") == codes.own_cause("X") == "X"


def test_what_is_configured_is_used_both_ways(tmp_path: Path) -> None:
    text = f"codes:\n  assets: {{aoi-1: EQ-4711}}\n  causes: {{{CAUSE.cause_id}: K17}}\n  defect_classes: {{{CLASS}: F2}}\n"  # noqa: E501
    codes = checked(tmp_path, text)
    assert (codes.asset("aoi-1"), codes.cause(CAUSE.cause_id), codes.defect_class(CLASS)) == ("EQ-4711", "K17", "F2")
    assert (codes.own_cause("K17"), codes.own_cause("OTHER")) == (CAUSE.cause_id, "OTHER")


@pytest.mark.parametrize(
    ("codes", "key", "why"),
    [
        ("causes: {NOPE: K1}", "codes.causes.NOPE", "there is no 'NOPE'"),
        ("assets: {aoi-9: E1}", "codes.assets.aoi-9", "known: "),
        ("defect_classes: {dragon: D}", "codes.defect_classes.dragon", "there is no 'dragon'"),
        (f"causes: {{{CAUSE.cause_id}: K1, {OTHER.cause_id}: K1}}", f"codes.causes.{OTHER.cause_id}", "already"),
        (f"causes: {{{CAUSE.cause_id}: {OTHER.cause_id}}}", f"codes.causes.{CAUSE.cause_id}", "another one of ours"),
    ],
)
def test_a_code_that_is_unknown_or_twice_is_named_with_its_line(tmp_path: Path, codes: str, key: str, why: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        checked(tmp_path, f"codes:\n  {codes}\n")
    (problem,) = caught.value.problems
    lines = problem.file.read_text().splitlines()
    assert (problem.key, lines[problem.line - 1].strip()) == (key, codes)
    assert why in problem.message


def test_an_answer_in_the_plant_s_codes_is_read_in_ours() -> None:
    codes = PlantCodes(causes={"ETCH-OVER": "K17"}, actions={"A-1": "M9"})
    order = "01a202de-2a6f-7000-a1dd-b8ec1449b383"
    actual = {"causeCode": "K17", "confirms": "yes", "actions": ["M9", "else"]}
    body = {"responseId": "1", "jobOrderId": order, "rev": 1, "event": "closed", "actual": actual}
    message = InboundMessage(
        source="s",
        message_id="1",
        topic=topics.under("a", topics.response(order)),
        body=json.dumps(body).encode(),
        received_at=FakeClock().now(),
    )
    read = inbound.job_response(message, codes).actual
    assert read is not None
    assert (read.cause_id, read.action_ids) == ("ETCH-OVER", ("A-1", "else"))
    plain = inbound.job_response(message).actual
    assert plain is not None
    assert plain.cause_id == "K17"


def test_what_goes_out_is_in_the_plant_s_codes() -> None:
    order, analysis = plant_samples.ORDER, plant_samples.ANALYSIS
    suspect = order.suspects[0]
    codes = PlantCodes(
        assets={order.equipment or order.station_id: "EQ-1"},
        causes={suspect.cause_id: "K17"},
        actions={suspect.actions[0].action_id: "M9"},
    )
    sender = replace(plant_samples.SENDER, codes=codes)
    sent = json.loads(outbound.work_order(order, analysis, "create", sender=sender, clock=FakeClock()).body)["data"]
    assert sent["equipmentRequirement"][0]["id"] == "EQ-1"
    assert (sent["expectedCause"], sent["suspects"][0]["causeCode"]) == ("K17", "K17")
    assert sent["suspects"][0]["actions"][0]["id"] == "M9"
