"""Measure a packaged model with `edge-agent evaluate` and write the figures, with the command, into its card."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FIGURES = (
    *("images", "defects", "map_33", "map_50", "map_50_95", "f_score", "precision", "recall"),
    "false_boxes_per_image",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``record``."""
    parser.add_argument("name", help="name/version")
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--data", required=True, help="as for `edge-agent evaluate detector`")
    parser.add_argument("--groups", default="")
    parser.add_argument("--mend", action="store_true", help="as for `edge-agent evaluate detector`")
    parser.add_argument("--called", default="", help="what the card calls the data")


def run(options: argparse.Namespace) -> None:
    """Measure, and replace the card's figures for this data."""
    words = ["evaluate", "detector", "--model", options.name, "--data", options.data, "--json"]
    groups = ["--groups", options.groups] if options.groups else []
    groups += ["--mend"] if options.mend else []
    edge_agent = Path(sys.executable).with_name("edge-agent")
    result = subprocess.run(
        [str(edge_agent), *words, *groups, "--models", str(options.out)], capture_output=True, text=True, check=True
    )
    measured = json.loads(result.stdout)
    called = options.called or options.data
    shown = [*words[:5], called.split()[0], *groups]
    entry = {"data": called, "figures": figures(measured), "command": " ".join(["edge-agent", *shown])}
    file = options.out / options.name / "card.json"
    card = json.loads(file.read_text())
    card["accuracy"] = [one for one in card.get("accuracy", []) if one["data"] != called] + [entry]
    file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(entry, indent=2))


def figures(measured: dict[str, Any]) -> dict[str, float]:
    """The flat figures of an evaluation, and its escapes and overkill where there were such parts."""
    found = {name: measured[name] for name in FIGURES}
    for name in ("escapes", "overkill"):
        if measured[name]:
            found |= {name: measured[name]["count"], f"{name}_of": measured[name]["of"]}
    strict = measured["escapes_at_overkill_1"]
    found |= {"f_best": measured["f_best"]["f_score"], "ece": measured["calibration"]["ece"]}
    return found | ({"escapes_at_overkill_1": strict["escapes"]["count"]} if strict else {})
