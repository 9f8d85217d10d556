"""Runs in Tryton's own environment: a fresh database in memory, the bridge, and somebody who works on each alert.

tryton_technician.py BRIDGE_FOLDER BROKER_PORT PASSWORD
"""

import os
import sys

os.environ |= {"DB_NAME": ":memory:", "TRYTOND_DATABASE_URI": "sqlite://"}
from trytond.modules.company.tests.tools import create_company
from trytond.tests.tools import activate_modules

sys.path.insert(0, sys.argv[1])
activate_modules("quality", create_company)
import bridge  # noqa: E402

alerts = bridge.Alerts()
client = bridge.connected("127.0.0.1", int(sys.argv[2]), "mes", sys.argv[3])
plant = bridge.Bridge(alerts, client)
client.loop_start()


def told(event: str) -> bool:
    return any(answer.endswith(f".{event}") for answer in plant._heard)


while not told("closed"):
    plant.step(0.05)
    for alert in alerts.Alert.find([]):
        if alert.state == "open" and told("accepted"):
            alert.click("process")
        elif alert.state == "processing" and told("started"):
            alert.description += "cause: A15 conveyor was at 2.1 m/min\n"
            alert.save()
            alert.click("resolve")
print(len(alerts.Alert.find([])), "alert")
