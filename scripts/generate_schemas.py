#!/usr/bin/env python3
"""Write schemas/*.json and asyncapi.yaml from the payload models and the table of channels.

``--check`` only says whether they are up to date (exit 1 if not).
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from edge_agent.contract.channels import CHANNELS, PARAMETERS, Channel
from edge_agent.contract.envelope import CONTENT_TYPE, data_schema
from edge_agent.contract.payloads import INBOUND, OUTBOUND, Payload

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "schemas"
ASYNCAPI = REPOSITORY / "asyncapi.yaml"
CONTRACT_VERSION = "1.0.0"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(payload: type[Payload]) -> dict[str, object]:
    """The JSON Schema of one payload, as it is on the wire."""
    mode = "serialization" if payload in OUTBOUND else "validation"
    made = payload.model_json_schema(by_alias=True, mode=mode)
    return {"$schema": DIALECT, "$id": data_schema(payload), **_without_titles(made)}


def _without_titles(node: Any) -> Any:
    """Pydantic gives every property a title that only repeats its name."""
    if isinstance(node, list):
        return [_without_titles(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_titles(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}


def envelope() -> dict[str, object]:
    """The envelope that every JSON message but a metric comes in."""
    text = {"type": "string", "minLength": 1}
    return {
        "$schema": DIALECT,
        "$id": "urn:edge-agent:schema:envelope:1",
        "title": "CloudEvent",
        "description": "CloudEvents 1.0, structured JSON. (source, id) identifies a message.",
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": text,
            "type": text,
            "subject": text,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "dataschema": text,
            "sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "Per-box counter; only from the box."},
            "late": {
                "type": "integer",
                "minimum": 1,
                "description": "Seconds from time to sending, where it went out late; only from the box.",
            },
            "causationid": text,
            "signature": {
                "type": "string",
                "pattern": r"^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+$",
                "description": "Detached JWS (EdDSA) over the text without this member, which is the last one.",
            },
            "data": {"type": "object"},
        },
        "required": ["specversion", "id", "source", "type", "data"],
    }


def asyncapi() -> dict[str, object]:
    """The AsyncAPI 3.0 document, from the box's point of view: it sends what is below ``out/``."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edge-agent plant contract",
            "version": CONTRACT_VERSION,
            "description": "What goes between an inspection box and the plant over MQTT 5; see docs/topics.md. "
            "The Business To Manufacturing Markup Language (B2MML) is used courtesy of MESA International.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "plant": {
                "host": "{broker}",
                "protocol": "mqtt",
                "protocolVersion": "5.0",
                "description": "The plant's own broker.",
                "variables": {"broker": {"default": "localhost:1883", "description": "mqtt.host and mqtt.port."}},
            }
        },
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {_operation_name(channel): _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": {channel.name: _message(channel) for channel in CHANNELS},
            "parameters": {name: {"description": text} for name, text in PARAMETERS.items()},
        },
    }


def _channel(channel: Channel) -> dict[str, object]:
    named = re.findall(r"\{(\w+)\}", channel.address)
    return {
        "address": channel.address,
        "description": channel.summary,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in named},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _operation_name(channel: Channel) -> str:
    return ("send" if channel.from_box else "receive") + channel.name[0].upper() + channel.name[1:]


def _operation(channel: Channel) -> dict[str, object]:
    binding: dict[str, object] = {"bindingVersion": "0.2.0", "qos": channel.qos, "retain": channel.retain}
    if channel.expiry is not None:
        binding["messageExpiryInterval"] = int(channel.expiry.total_seconds())
    made: dict[str, object] = {
        "action": "send" if channel.from_box else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary,
        "bindings": {"mqtt": binding},
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{channel.name}"}],
    }
    if channel.receipt:
        made["description"] = "Sent again until the plant has confirmed it on in/receipt."
    if channel.reply:
        made["reply"] = {
            "channel": {"$ref": f"#/channels/{channel.reply}"},
            "messages": [{"$ref": f"#/channels/{channel.reply}/messages/{channel.reply}"}],
        }
    return made


def _message(channel: Channel) -> dict[str, object]:
    data: dict[str, object] = {"$ref": f"./schemas/{channel.payload.schema_name}.json"}
    if channel.args is not None:
        args = {"$ref": f"./schemas/{channel.args.schema_name}.json"}
        data = {"allOf": [data, {"type": "object", "properties": {"args": args}}]}
        if channel.args_alone:
            data = {"anyOf": [data, args]}
    enveloped = {
        "allOf": [{"$ref": "./schemas/envelope.json"}, {"type": "object", "properties": {"data": data}}],
    }
    payload = enveloped if channel.enveloped else data
    if channel.enveloped and not channel.from_box:
        payload = {"anyOf": [enveloped, data]}
    return {
        "name": channel.name,
        "title": channel.payload.__name__,
        "summary": channel.summary,
        "contentType": CONTENT_TYPE if channel.enveloped else "application/json",
        "payload": payload,
    }


def files() -> dict[Path, str]:
    """What the folder must hold."""
    made = {FOLDER / f"{payload.schema_name}.json": schema(payload) for payload in (*OUTBOUND, *INBOUND)}
    made[FOLDER / "envelope.json"] = envelope()
    texts = {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in made.items()}
    head = "# Made by scripts/generate_schemas.py from edge_agent/contract; do not edit.\n"
    return texts | {ASYNCAPI: head + yaml.safe_dump(asyncapi(), sort_keys=False, width=120, allow_unicode=True)}


def main() -> int:
    """Entry point."""
    wanted = files()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    surplus = sorted(set(FOLDER.glob("*.json")) - set(wanted))
    if "--check" in sys.argv[1:]:
        for path in [*stale, *surplus]:
            print(f"{path.name} is not what the models say: run scripts/generate_schemas.py", file=sys.stderr)
        return 1 if stale or surplus else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    for path in surplus:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
