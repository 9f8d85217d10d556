"""Work orders of the boxes as quality alerts in Tryton, and what became of them back: an example to start from.

python bridge.py --tryton https://USER:PASSWORD@tryton.plant/DATABASE/ --broker broker.plant --username mes ...

Needs proteus and paho-mqtt; Tryton 8.2 with the module `quality`. README.md says what becomes what.
"""

import argparse
import contextlib
import json
import os
import queue
import re
import sys
import time
import uuid
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from proteus import Model, config

BOXES = "+/+/+/+/+/_inspect/v1/+"
CONTROL = "Visual inspection"
POLL_S = 2.0
AGAIN_S = 30.0
EVENT = {"open": "accepted", "processing": "started", "deferred": "held", "resolved": "closed"}
CAUSE = re.compile(r"^\s*cause:\s*(\S+)\s*(.*)$", re.I | re.M)


class Alerts:
    """Tryton's side. An order is a failed inspection (its reference is the order's id) with one alert."""

    def __init__(self):
        self.Alert, self.Inspection = Model.get("quality.alert"), Model.get("quality.inspection")
        found = Model.get("quality.control").find([("name", "=", CONTROL)])
        self._control = found[0] if found else self._new_control()

    @staticmethod
    def _new_control():
        control = Model.get("quality.control")(name=CONTROL)
        point = control.points.new()
        point.string, point.name, point.type_ = "Good", "good", "boolean"
        control.save()
        return control

    def take(self, root, order):
        """Open or update the alert of an order; the same document twice is one alert."""
        text = f"{order.get('text') or order['description']}\n\n{_suspects(order)}\nbox: {root}\nrev: {order['rev']}\n"
        inspection = self._inspection(order["jobOrderId"])
        alert = self._of(order["jobOrderId"]) or self.Alert(origin=inspection)  # Tryton opens one for what failed
        if not _noted(alert, "rev"):
            alert.title, alert.description = _title(order), text
            alert.save()
        elif alert.state in ("open", "processing") and int(order["rev"]) > int(_noted(alert, "rev")):
            alert.title, alert.description = _title(order), text + _remarks(alert)
            alert.save()

    def answers(self):
        """(box's topic root, order id, revision, event, alert) of each alert; only of those that are ours."""
        for alert in self.Alert.find([("origin.control.name", "=", CONTROL, "quality.inspection")]):
            if not _noted(alert, "rev"):
                continue
            yield _noted(alert, "box"), alert.origin.reference, int(_noted(alert, "rev")), EVENT[alert.state], alert

    def _of(self, order_id):
        found = self.Alert.find([("origin.reference", "=", order_id, "quality.inspection")])
        return found[0] if found else None

    def _inspection(self, order_id):
        found = self.Inspection.find([("reference", "=", order_id)])  # one that a crash left without its alert
        inspection = found[0] if found else self.Inspection(control=self._control, reference=order_id)
        if not found:
            inspection.points = {"good": False}
            inspection.click("process")
        return inspection


def _event(body):
    """The CloudEvent, or None for what is none: one bad message must not stop the others."""
    try:
        event = json.loads(body)
        return event if event["id"] and isinstance(event["data"], dict) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _title(order):
    return f"{order['number']} P{order['priority']}: {order['description']}"[:200]


def _suspects(order):
    return "".join(f"suspect {each['causeCode']}: {each['name']}\n" for each in order.get("suspects", ()))


def _noted(alert, name):
    found = re.findall(rf"^{name}: (.*)$", alert.description or "", re.M)
    return found[0] if found else ""


def _remarks(alert):
    """What people wrote below our part."""
    return (alert.description or "").partition(f"rev: {_noted(alert, 'rev')}\n")[2]


class Bridge:
    """MQTT's side; everything happens in the thread that calls `step`."""

    def __init__(self, alerts, client):
        self.alerts, self.client = alerts, client
        self._came = queue.Queue(10_000)
        self._said, self._heard, self._asked = {}, set(), set()
        self._polled_at = 0.0
        client.on_message = lambda _c, _u, message: self._came.put(message)
        client.on_connect = self._connected

    def _connected(self, client, *_):
        client.subscribe([(f"{BOXES}/out/wo/+/order", 1), (f"{BOXES}/out/wo/+/response-ack", 1)])

    def step(self, wait_s=0.2):
        """Take what came; tell what has changed."""
        with contextlib.suppress(queue.Empty):
            self._take(self._came.get(timeout=wait_s))
        if time.monotonic() >= self._polled_at + POLL_S:
            self._polled_at = time.monotonic()
            for found in self.alerts.answers():
                self._tell(*found)

    def _take(self, message):
        root = message.topic.partition("/out/")[0]
        event = _event(message.payload)
        if event is None:
            if message.payload:
                print(f"no CloudEvent on {message.topic}", file=sys.stderr)
        elif message.topic.endswith("/response-ack"):
            self._heard.add(event["data"].get("responseId"))
        elif {"jobOrderId", "number", "priority", "description", "rev"} <= event["data"].keys():
            self.alerts.take(root, event["data"])  # committed when it returns: now the box may forget it
            receipt = {"ids": [event["id"]], "status": "received"}
            self._publish(f"{root}/in/receipt", "receipt", str(uuid.uuid4()), receipt)
        self.client.ack(message.mid, message.qos)

    def _tell(self, root, order_id, rev, event, alert):
        """Say it until the box has heard it; the id follows from what is said, so that twice is once."""
        answer_id = f"{order_id}.{event}"
        if answer_id in self._heard or time.monotonic() < self._said.get(answer_id, 0.0) + (
            AGAIN_S if answer_id in self._said else 0
        ):
            return
        data = {"responseId": answer_id, "jobOrderId": order_id, "rev": rev, "event": event, "mesOrderId": alert.number}
        if event == "closed":
            cause = CAUSE.search(_remarks(alert))
            if cause is None:
                self._ask(alert)
                return
            data["actual"] = {"causeCode": cause[1], "causeText": cause[2]}
        self._said[answer_id] = time.monotonic()
        self._publish(f"{root}/in/wo/{order_id}/response", f"jobresponse.{event}", answer_id, data)

    def _ask(self, alert):
        if alert.number not in self._asked:
            self._asked.add(alert.number)
            print(
                f"alert {alert.number} is resolved without a line 'cause: CODE': the box is not told", file=sys.stderr
            )

    def _publish(self, topic, name, event_id, data):
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "urn:mes:tryton",
            "type": f"example.{name}.v1",
            "data": data,
        }
        self.client.publish(topic, json.dumps(event), 1)


def connected(host, port, username, password, ca_file=None):
    """A client with a durable session that acknowledges by hand; not started."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "tryton-bridge", protocol=paho.MQTTv5, manual_ack=True)
    client.username_pw_set(username, password)
    if ca_file:
        client.tls_set(ca_file)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 7 * 24 * 3600
    client.connect_async(host, port, clean_start=False, properties=session)
    return client


def main():
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tryton", default=os.environ.get("TRYTON_URL"), help="or TRYTON_URL, which keeps the password out of sight"
    )
    parser.add_argument("--broker", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--username", default="mes")
    parser.add_argument("--password-file", required=True)
    parser.add_argument("--ca-file")
    options = parser.parse_args()
    config.set_xmlrpc(options.tryton)
    password = Path(options.password_file).read_text(encoding="utf-8").strip()
    client = connected(options.broker, options.port, options.username, password, options.ca_file)
    bridge = Bridge(Alerts(), client)
    client.loop_start()
    while True:
        bridge.step()


if __name__ == "__main__":
    main()
