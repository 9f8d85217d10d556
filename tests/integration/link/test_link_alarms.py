"""A real mosquitto with access rules that hold and with some that are too wide; and a second box of the same name."""

from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.link import connection
from edge_agent.adapters.link.mqtt import MqttLink
from edge_agent.adapters.store.database import Database
from edge_agent.simulation.broker import Broker
from tests.integration.link.plant import AGENT, CLOCK, ROOT, options, state_body, until

pytestmark = pytest.mark.integration

RIGHT = "pattern write +/+/+/+/+/_inspect/v1/%c/out/#\npattern read +/+/+/+/+/_inspect/v1/%c/in/#\n"
WIDE = "pattern readwrite +/+/+/+/+/_inspect/v1/%c/#\n"
WIDEST = "user agent\ntopic readwrite #\n"


def a_link(broker: Broker, folder: Path, *, canary: bool = False) -> MqttLink:
    store = Database(f"sqlite:///{folder / 'box.sqlite3'}", clock=CLOCK)
    store.migrate()
    return MqttLink(
        options(broker),
        agent=AGENT,
        topic_root=ROOT,
        store=store,
        clock=CLOCK,
        state_body=state_body,
        password=broker.passwords["agent"],
        canary=canary,
    )


@pytest.mark.usefixtures("_mosquitto")
@pytest.mark.parametrize(("rules", "accepted"), [(RIGHT, []), (WIDE, ["in"]), (WIDEST, ["in", "out"])])
def test_rules_that_are_too_wide_are_an_alarm(tmp_path: Path, rules: str, accepted: list[str]) -> None:
    file = tmp_path / "acl"
    file.write_text(rules)
    file.chmod(0o644)
    with Broker(tmp_path / "broker", settings={"acl_file": str(file)}) as broker:
        link = a_link(broker, tmp_path, canary=True)
        link.start()
        try:
            alarm = until(
                lambda: next((a for a in link.status().alarms if a.component == "access rules"), None), "told"
            )
        finally:
            link.stop(3.0)
    assert alarm.active is bool(accepted)
    found = [
        side for side, topic in (("in", f"{ROOT}/in/"), ("out", f"{ROOT}-acl-canary/out/")) if topic in alarm.detail
    ]
    assert found == accepted


def test_a_second_box_of_the_same_name_is_an_alarm(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = connection.Backoff.after_loss
    monkeypatch.setattr(connection.Backoff, "after_loss", lambda self, up_s: min(0.05, counted(self, up_s)))
    monkeypatch.setattr(connection, "TAKE_OVERS", 2)
    link = a_link(broker, tmp_path)
    other = paho.Client(CallbackAPIVersion.VERSION2, client_id=AGENT, protocol=paho.MQTTv5)
    other.username_pw_set("agent", broker.passwords["agent"])
    other.reconnect_delay_set(min_delay=1, max_delay=1)
    link.start()
    try:
        until(lambda: link.status().connected, "the box is connected")
        assert not any(alarm.active for alarm in link.status().alarms)
        other.connect(broker.host, broker.port)
        other.loop_start()
        until(lambda: any(alarm.active for alarm in link.status().alarms), "the alarm")
    finally:
        other.disconnect()
        other.loop_stop()
        link.stop(3.0)
