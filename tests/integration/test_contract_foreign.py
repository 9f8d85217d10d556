"""The plant contract, read by programs that nobody here wrote: AsyncAPI's parser, ajv, and the CloudEvents SDK.

They are Node packages, fixed in tests/npm/package-lock.json and installed there by the first test that needs them.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract.channels import CHANNELS
from edge_agent.contract.envelope import with_sequence
from edge_agent.contract.payloads import INBOUND, OUTBOUND
from tests.peers import npm

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "payloads"
BODIES = {path.stem: with_sequence(path.read_bytes(), 7).decode() for path in sorted(GOLDEN.glob("*.json"))}
ID = "01a202de-2a6f-7000-a1dd-b8ec1449b383"

Node = Callable[..., Any]


@pytest.fixture(scope="module")
def node() -> Node:
    """Runs a script of tests/npm; what it printed."""
    npm.install()

    def run(script: str, *arguments: str, stdin: Any = None) -> Any:
        done = subprocess.run(
            ["node", script, *arguments],
            cwd=npm.FOLDER,
            input=None if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


# --- AsyncAPI ---------------------------------------------------------------------------------------------------------

WARNING = 1
"""Severity: 0 error, 1 warning, 2 information."""


def test_the_asyncapi_parser_finds_nothing_to_complain_about(node: Node) -> None:
    read = node("asyncapi.mjs", str(REPOSITORY / "asyncapi.yaml"))
    assert [each for each in read["complaints"] if each["severity"] <= WARNING] == []
    assert read["version"] == "3.0.0"


def test_the_asyncapi_parser_understands_what_was_meant(node: Node) -> None:
    read = node("asyncapi.mjs", str(REPOSITORY / "asyncapi.yaml"))
    assert {each["id"]: each["address"] for each in read["channels"]} == {c.name: c.address for c in CHANNELS}
    for each in read["channels"]:
        assert set(each["parameters"]) == set(re.findall(r"\{(\w+)\}", each["address"]))
    operations = {each["id"]: each for each in read["operations"]}
    assert operations["sendWorkorder"] == {
        "id": "sendWorkorder",
        "action": "send",
        "qos": 1,
        "payloads": [True],
        "reply": None,
    }
    assert (operations["receivePause"]["action"], operations["receivePause"]["reply"]) == ("receive", "reply")
    assert operations["sendMetric"]["qos"] == 0


def test_the_asyncapi_parser_would_complain(node: Node, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "schemas", tmp_path / "schemas")
    broken = (REPOSITORY / "asyncapi.yaml").read_text("utf-8").replace("action: send", "action: shout", 1)
    (tmp_path / "asyncapi.yaml").write_text(broken)
    read = node("asyncapi.mjs", str(tmp_path / "asyncapi.yaml"))
    assert [each for each in read["complaints"] if each["severity"] < WARNING]


# --- JSON Schema ------------------------------------------------------------------------------------------------------

INBOUND_SAMPLES: dict[str, Any] = {
    "response": {"responseId": "1", "jobOrderId": ID, "rev": 1, "event": "accepted"},
    "receipt": {"ids": [ID]},
    "mes-state": {"online": True},
    "command": {"commandId": "c-1", "args": {"stationId": "aoi-1"}, "notAfter": "2030-01-02T03:04:05.678Z"},
    "station-args": {"stationId": "aoi-1", "reason": "lens is cleaned"},
    "trigger": {"partId": "P-1", "productId": "board-a", "triggerId": "t-1", "strata": {"shift": "B"}},
    "metric": {"value": 0.98, "timestamp_ms": 1893456000000},
}


def _cases() -> dict[str, Any]:
    cases: dict[str, Any] = {f"in {name}": {"schema": name, "value": v} for name, v in INBOUND_SAMPLES.items()}
    for name, body in BODIES.items():
        event = json.loads(body)
        cases[f"envelope of {name}"] = {"schema": "envelope", "value": event}
        cases[f"data of {name}"] = {"schema": event["dataschema"].split(":")[-2], "value": event["data"]}
    return cases


def test_ajv_compiles_every_schema_strictly_and_takes_every_message(node: Node) -> None:
    read = node("ajv.mjs", str(REPOSITORY / "schemas"), stdin=_cases())
    assert read["schemas"] == sorted({"envelope", *(payload.schema_name for payload in (*OUTBOUND, *INBOUND))})
    assert {name: error for name, error in read["found"].items() if error} == {}
    assert len(read["found"]) == 2 * len(BODIES) + len(INBOUND_SAMPLES)


SPOILS: dict[str, tuple[str, Any]] = {
    "in receipt": ("ids", ["not-a-uuid"]),
    "in trigger": ("partId", ""),
    "in command": ("notAfter", "yesterday"),
    "in response": ("jobOrderId", 7),
    "in metric": ("value", "high"),
    "data of result-not-ok": ("evaluation", "FINE"),
    "data of workorder": ("priority", 6),
    "data of error": ("class", "unheard-of"),
    "envelope of rca": ("specversion", "0.3"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_ajv_refuses_what_is_wrong(node: Node, name: str) -> None:
    field, value = SPOILS[name]
    case = deepcopy(_cases()[name])
    case["value"][field] = value
    assert field in node("ajv.mjs", str(REPOSITORY / "schemas"), stdin={"spoilt": case})["found"]["spoilt"]


# --- CloudEvents ------------------------------------------------------------------------------------------------------


def test_the_cloudevents_sdk_reads_every_event_as_it_was_written(node: Node) -> None:
    read = node("cloudevents.mjs", stdin=BODIES)
    for name, body in BODIES.items():
        event, found = json.loads(body), read[name]
        assert "error" not in found, f"{name}: {found}"
        for attribute in ("id", "source", "type", "subject", "dataschema", "time", "data"):
            assert found[attribute] == event[attribute], f"{name}: {attribute}"
        assert found["sequence"] == "7"


def test_the_cloudevents_sdk_would_refuse(node: Node) -> None:
    without_source = json.loads(BODIES["rca"])
    del without_source["source"]
    read = node("cloudevents.mjs", stdin={"no source": json.dumps(without_source), "no event": "{}"})
    assert all("error" in found for found in read.values())


def test_the_lock_file_names_no_registry() -> None:
    """The plant may have its own; what is installed is fixed by its hash."""
    locked = json.loads((npm.FOLDER / "package-lock.json").read_text("utf-8"))["packages"]
    fetched = {name: package for name, package in locked.items() if name}
    assert fetched
    assert [name for name, package in fetched.items() if "resolved" in package or "integrity" not in package] == []
