"""docs/sparkplug.md says what is so: each assertion is tested or has a reason, each metric is sent."""

import re
from pathlib import Path

from edge_agent.contract.sparkplug.station_tags import NODE_TAGS, STATION_TAGS
from tests.integration.sparkplug.test_tck import CHECKS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sparkplug.md").read_text("utf-8")
ROWS = re.findall(r"^\| `tck-id-([\w-]+)` \| (.+) \|$", PAGE, re.MULTILINE)


def test_the_table_and_the_tests_agree() -> None:
    assert {name for name, why in ROWS if why == "tested"} == set(CHECKS)
    assert len(CHECKS) > 140


def test_each_assertion_stands_there_once() -> None:
    names = [name for name, _ in ROWS]
    assert len(names) == len(set(names))


def test_what_is_not_tested_says_why() -> None:
    assert all(len(why) > 15 for _, why in ROWS if why != "tested")


def test_every_metric_is_in_the_table() -> None:
    table = PAGE.split("| Metric | Of |")[1].split("\n\n")[0]
    named = {word for row in table.splitlines()[2:] for word in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == {tag.name for tag in (*NODE_TAGS, *STATION_TAGS)} | {"bdSeq", "Node Control/Rebirth"}


def test_every_reason_of_the_codec_is_named() -> None:
    folder = Path(__file__).resolve().parents[3] / "edge_agent" / "contract" / "sparkplug"
    code = "".join((folder / name).read_text("utf-8") for name in ("wire.py", "payload.py"))
    section = PAGE.split("## The codec")[1].split("##")[0]
    assert set(re.findall(r'SparkplugError\(\s*"([a-z0-9-]+)"', code)) - {"field"} <= set(
        re.findall(r"`([a-z0-9-]+)`", section)
    )
