"""Analysts that answer from the words of the prompt alone, as a model would: one faultless, the others with a habit."""

import json
import re
from collections.abc import Callable

from edge_agent.ports import WritingTask, Written
from edge_agent.responding import choosing

SHA256 = "7" * 64


Sides = dict[str, set[str]]


def _sides(prompt: str) -> tuple[list[tuple[str, Sides]], list[tuple[str, bool, str]]]:
    """Candidates (key, words by side) and facts (id, seen, words)."""
    candidates = []
    for line in re.findall(r"^K\d \| .*$", prompt, re.MULTILINE):
        key, _, *told = line.split(" | ")
        sides: Sides = {word: set() for word in ("expects", "may show", "excludes")}
        for part in told:
            word = next(word for word in sides if part.startswith(word))
            sides[word] = set(part.removeprefix(f"{word} ").split("; "))
        candidates.append((key, sides))
    facts = [
        (key, seen == "seen", words)
        for key, seen, words in re.findall(r"^(E\d+) \| (seen|not seen) \| (.*)$", prompt, re.MULTILINE)
    ]
    return candidates, facts


def read_choice(prompt: str) -> str:
    """The candidate with most facts for it less those against it."""
    candidates, facts = _sides(prompt)
    nets: dict[str, tuple[int, list[str], list[str]]] = {}
    for key, told in candidates:
        wide, excluded = told["expects"] | told["may show"], told["excludes"]
        fits = [one for one, seen, words in facts if words in (wide if seen else excluded)]
        contradicts = [one for one, seen, words in facts if words in (excluded if seen else told["expects"])]
        nets[key] = len(fits) - len(contradicts), fits, contradicts
    ranked = sorted(nets, key=lambda key: -nets[key][0])
    first = nets[ranked[0]]
    if first[0] <= 0 or first[0] == nets[ranked[1]][0]:
        return _choice(choosing.INSUFFICIENT, [], [])
    return _choice(ranked[0], first[1], first[2])


def first_place(prompt: str) -> str:
    """K1, whatever the facts; cites the first one."""
    return _choice("K1", [_sides(prompt)[1][0][0]], [])


def obedient(prompt: str) -> str:
    """Does what foreign text says."""
    told = re.search(r"NOTE \[\[.*?(K\d)", prompt)
    return _choice(told[1], [_sides(prompt)[1][0][0]], []) if told else read_choice(prompt)


def _choice(key: str, cited: list[str], against: list[str]) -> str:
    answer = {"analysis": "read", "choice": key, "citations": cited, "against": against, "calls": []}
    return json.dumps(answer)


def write_note(prompt: str) -> str:
    """One fact that was seen, told in its own words."""
    facts = re.findall(r"^(E\d+) \| (for|against) \| (.*) \| (?:strong|weak)$", prompt, re.MULTILINE)
    key, words = next((key, words) for key, side, words in facts if side == "for" and not words.startswith("not seen"))
    against = [one for one, side, _ in facts if side == "against"]
    return json.dumps(
        {"text": f"We found {words} ({key}), which fits {{cause}}.", "citations": [key], "against": against}
    )


class Reader:
    """Implements ``ports.Analyst``."""

    def __init__(self, choose: Callable[[str], str] = read_choice, note: Callable[[str], str] = write_note) -> None:
        self._choose, self._note = choose, note
        self.tasks: list[WritingTask] = []

    @property
    def name(self) -> str:
        return "reader"

    def write(self, task: WritingTask, timeout_s: float) -> Written:
        self.tasks.append(task)
        if task.prompt == "READY":
            text = "{}"
        elif task.system == choosing.SYSTEM:
            text = self._choose(task.prompt)
        else:
            text = self._note(task.prompt)
        return Written(
            text=text, model_sha256=SHA256, model_name="reader", prompt_tokens=1, output_tokens=1, latency_ms=5.0
        )

    def close(self) -> None:
        """Nothing to release."""
