"""docs/topics.md names every topic and schema there is, and no other."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator

from edge_agent.bootstrap.box_state import VERBS
from edge_agent.contract import outbound, topics
from edge_agent.contract.channels import CHANNELS, ROOT, Channel

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "topics.md").read_text(encoding="utf-8")
ID = UUID(int=0)


def _code() -> set[str]:
    made = {
        *(topics.STATE, topics.RESULT, topics.RESULT_COUNT, topics.DEFECT, topics.ORDER_INDEX, topics.REPLY),
        *(topics.ERROR, topics.RECEIPT),
        *(topics.rca(ID), topics.order(ID), topics.response(ID), topics.response_ack(ID), topics.report(ID)),
        *(topics.command("verb"), topics.metric("name")),
    }
    return {re.sub(r"verb|name", "*", topic.replace(str(ID), "*")) for topic in made}


def test_topics() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    named = {line.split("`")[1].removeprefix("T/") for line in rows}
    documented = {re.sub(r"\{\w+\}", "*", topic) for topic in named if re.match(r"(in|out)/", topic)}
    assert documented == _code()
    assert topics.mes_state(enterprise="{enterprise}", site="{site}") in named


def test_the_table_of_channels_has_every_topic() -> None:
    """Commands by their verbs: those that the box acts upon."""
    known = {re.sub(r"\{\w+\}", "*", channel.address.removeprefix(f"{ROOT}/")) for channel in CHANNELS}
    commands = {topics.command(verb) for verb in (*VERBS, "trigger")}
    mes = topics.mes_state(enterprise="*", site="*")
    assert known == (_code() - {topics.command("*")}) | commands | {mes}


def test_every_command_is_documented() -> None:
    section = TEXT.partition("## Commands")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", section, flags=re.MULTILINE)) == {*VERBS, "trigger"}


def test_schemas() -> None:
    assert set(re.findall(r"schemas/([\w-]+\.json)", TEXT)) == {
        path.name for path in (REPOSITORY / "schemas").iterdir()
    }


def test_states() -> None:
    documented = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \| [^|]+\|$", TEXT, flags=re.MULTILINE)
    assert {state: (job, request) for state, job, request in documented} == {
        state.value: words for state, words in outbound.JOB_STATES.items()
    }


# --- the examples, made by scripts/record_topics ----------------------------------------------------------------------

EXAMPLES = {
    name: (topic, json.loads(body))
    for name, topic, body in re.findall(
        r"^### `([^`]+)`\n\n.+?\n`([^`]+)`:\n\n```json\n(.+?)\n```", TEXT, flags=re.MULTILINE | re.DOTALL
    )
}


@cache
def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((REPOSITORY / "schemas" / f"{name}.json").read_text("utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_every_topic_has_an_example_and_every_example_a_topic() -> None:
    assert list(EXAMPLES) == [channel.address.removeprefix(f"{ROOT}/") for channel in CHANNELS]


@pytest.mark.parametrize("channel", CHANNELS, ids=[channel.name for channel in CHANNELS])
def test_the_example_is_what_the_schemas_say(channel: Channel) -> None:
    topic, content = EXAMPLES[channel.address.removeprefix(f"{ROOT}/")]
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", channel.address), topic)
    data: dict[str, Any] = content
    if channel.enveloped and "specversion" in content:
        _validator("envelope").validate(content)
        data = content["data"]
    assert "specversion" in content or not channel.from_box or not channel.enveloped
    if channel.args_alone and "args" not in data:
        data = {"commandId": "of the args alone", "args": data}
    _validator(channel.payload.schema_name).validate(data)
    if channel.args is not None:
        _validator(channel.args.schema_name).validate(data["args"])
