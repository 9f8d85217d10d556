"""A work order becomes a quality alert in a real Tryton, and its resolution the answer to the box."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.simulation.broker import Broker
from tests.integration.link.conftest import _mosquitto  # noqa: F401  fixture
from tests.integration.test_reference_mes_process import ORDER, ORDER_ID, ROOT, Box, until

TESTS = Path(__file__).resolve().parents[1]
PYTHON = TESTS.parent / ".cache" / "tryton" / "bin" / "python"
EXAMPLE = TESTS.parent / "plant_config" / "examples" / "tryton"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.usefixtures("_mosquitto"),
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="no Tryton: python -m venv .cache/tryton && .cache/tryton/bin/pip install"
        f" -r {EXAMPLE.relative_to(TESTS.parent)}/requirements.txt",
    ),
]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", users=("box", "mes")) as running:
        yield running


def acknowledge(box: Box, answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        data = {"responseId": answer["responseId"], "jobOrderId": ORDER_ID, "status": "applied"}
        box._client.publish(f"{ROOT}/out/wo/{ORDER_ID}/response-ack", json.dumps({**ORDER, "data": data}), 1)


def test_an_order_is_an_alert_and_its_resolution_closes_it(broker: Broker, tmp_path: Path) -> None:
    box = Box(broker)
    words = [str(PYTHON), str(TESTS / "peers" / "tryton_technician.py"), str(EXAMPLE)]
    with (tmp_path / "tryton.log").open("wb") as log:
        tryton = subprocess.Popen([*words, str(broker.port), broker.passwords["mes"]], stdout=log, stderr=log)
    try:
        for body in ("{", "[]", '{"id": 1, "data": {}}'):
            box._client.publish(f"{ROOT}/out/wo/{ORDER_ID}/order", body, 1)
        box.order("e-1")
        until(lambda: box.data("/in/receipt") or tryton.poll(), "Tryton has it")
        assert tryton.poll() is None, (tmp_path / "tryton.log").read_text()
        box.order("e-1")
        for number in (1, 2, 3):
            until(lambda number=number: len(box.data("/response")) >= number or tryton.poll(), f"answer {number}")
            acknowledge(box, box.data("/response")[number - 1 : number])
        assert tryton.wait(30) == 0, (tmp_path / "tryton.log").read_text()
    finally:
        tryton.kill()
        tryton.wait(10)
        box.stop()
    answers = box.data("/response")
    assert [each["event"] for each in answers] == ["accepted", "started", "closed"]
    assert answers[-1]["actual"] == {"causeCode": "A15", "causeText": "conveyor was at 2.1 m/min"}
    assert len(box.data("/in/receipt")) == 2
    assert (tmp_path / "tryton.log").read_text().endswith("1 alert\n")
