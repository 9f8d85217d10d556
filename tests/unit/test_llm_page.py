"""docs/llm.md lists the validator's rules, all of them and no others."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_rule_is_documented_and_the_reverse() -> None:
    validator = (ROOT / "edge_agent" / "responding" / "validator.py").read_text("utf-8")
    page = (ROOT / "docs" / "llm.md").read_text("utf-8")
    enforced = set(re.findall(r'rule="(V\d\.\w+)"', validator))
    assert len(enforced) > 10
    assert set(re.findall(r"^\| `(V\d\.\w+)` \|", page, re.MULTILINE)) == enforced
