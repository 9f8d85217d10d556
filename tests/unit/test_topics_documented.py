"""docs/topics.md names every topic and schema there is, and no other."""

import re
from pathlib import Path
from uuid import UUID

from edge_agent.bootstrap.box_state import VERBS
from edge_agent.contract import outbound, topics
from edge_agent.contract.channels import CHANNELS, ROOT

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
