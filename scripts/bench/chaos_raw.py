"""The peer of `chaos`: paho's own queue with QoS 1 and a durable session, in a process that is killed like the box.

It is given what a careful user of paho gives it: a fixed client id, a session that outlives the connection, prompt
reconnects. It publishes a message for each event that the box has committed, at about the same moment. A number counts
as committed when it stands in the file and ``publish`` has taken it.
"""

import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TOPIC = "chaos/raw"
SESSION_S = 3600
LAST_WORDS_S = 20.0


def produced(box_file: str) -> int:
    """Events that the box has committed."""
    try:
        with closing(sqlite3.connect(f"file:{box_file}?mode=ro", uri=True, timeout=5)) as database:
            row = database.execute("SELECT value FROM facts WHERE key = 'chaos:produced'").fetchone()
    except sqlite3.OperationalError:  # not there yet
        return 0
    return int(row[0]) if row else 0


def main() -> None:
    """Entry point: a settings file."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    book = Path(settings["raw_book"])
    done = len(book.read_text().splitlines()) if book.exists() else 0
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="raw", protocol=paho.MQTTv5)
    client.username_pw_set("agent", settings["password"])
    client.reconnect_delay_set(0.2, 1)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_S
    client.connect_async(settings["host"], settings["port"], keepalive=10, clean_start=False, properties=properties)
    client.loop_start()
    info = None
    with book.open("a") as file:
        for number in range(done, settings["total"]):
            while number >= produced(settings["box_file"]):
                time.sleep(0.01)
            info = client.publish(TOPIC, json.dumps({"n": number, "pad": "x" * 500}), 1)
            file.write(f"{number}\n")
            file.flush()
    if info is not None:
        info.wait_for_publish(LAST_WORDS_S)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
