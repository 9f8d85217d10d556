#!/usr/bin/env python3
"""Write schemas/*.json from the payload models. ``--check`` only says whether they are up to date (exit 1 if not)."""

import json
import sys
from pathlib import Path
from typing import Any

from edge_agent.contract.envelope import data_schema
from edge_agent.contract.payloads import INBOUND, OUTBOUND, Payload

FOLDER = Path(__file__).resolve().parent.parent / "schemas"
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
            "causationid": text,
            "data": {"type": "object"},
        },
        "required": ["specversion", "id", "source", "type", "data"],
    }


def files() -> dict[Path, str]:
    """What the folder must hold."""
    made = {FOLDER / f"{payload.schema_name}.json": schema(payload) for payload in (*OUTBOUND, *INBOUND)}
    made[FOLDER / "envelope.json"] = envelope()
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in made.items()}


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
