"""How the demo is shown: live panels on a terminal, plain lines elsewhere."""

import sys
import threading
from collections import deque
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edge_agent.simulation.demo.story import IncidentCard, OrderCard, Story, Told

_COLOURS = {
    "box": "cyan",
    "defect": "yellow",
    "incident": "bold red",
    "analysis": "magenta",
    "order": "bold blue",
    "answer": "green",
    "document": "cyan",
    "step": "dim",
}
_EVALUATIONS = {"OK": "green", "NOT_OK": "red", "NOT_DECIDABLE": "yellow", "NOT_INSPECTED": "yellow"}
_REFRESH_S = 0.25


class Audience(Protocol):
    """Somebody who watches."""

    def begin(self, story: Story, total: int | None) -> None: ...

    def tell(self, told: Told) -> None: ...

    def end(self) -> None: ...


class Lines:
    """Plain lines for logs and pipes: good parts are counted, everything else is a line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._story: Story | None = None
        self._total: int | None = None

    def begin(self, story: Story, total: int | None) -> None:
        """Remember what to count against."""
        self._story, self._total = story, total

    def tell(self, told: Told) -> None:
        """Print a line; of the good parts the first few and then every 25th."""
        story = self._story
        if told.kind == "part" and story is not None and story.parts > 5 and story.parts % 25:
            return
        of = f"[{story.parts}/{self._total or '-'}] " if told.kind in {"part", "defect"} and story is not None else ""
        self._console.print(
            f"{of}{told.text}", style=_COLOURS.get(told.kind, ""), highlight=False, soft_wrap=True, markup=False
        )

    def end(self) -> None:
        """Nothing to put away."""


class Screen:
    """A live picture: the parts on the left, what follows from them on the right."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._recent: deque[Told] = deque(maxlen=7)
        self._progress = Progress(
            TextColumn("parts"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._progress.add_task("parts", total=None)
        self._live: Live | None = None
        self._story: Story | None = None
        self._lock = threading.Lock()

    def begin(self, story: Story, total: int | None) -> None:
        """Take the screen."""
        self._story = story
        self._progress.update(self._task, total=total)
        self._live = Live(
            get_renderable=self.picture, console=self._console, refresh_per_second=1 / _REFRESH_S, screen=False
        )
        self._live.start()

    def tell(self, told: Told) -> None:
        """Keep a line for the picture; before it is there, print it."""
        if self._live is None:
            self._console.print(told.text, style=_COLOURS.get(told.kind, ""), highlight=False, markup=False)
        elif told.kind not in {"part", "defect"}:
            with self._lock:
                self._recent.append(told)

    def end(self) -> None:
        """Leave the last picture on the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def picture(self) -> RenderableType:
        """What the screen shows now."""
        story = self._story
        if story is None:
            return Text("")
        self._progress.update(self._task, completed=story.parts)
        halves = Table.grid(expand=True)
        halves.add_column(ratio=4)
        halves.add_column(ratio=6)
        halves.add_row(_parts_panel(story), self._right(story))
        return Group(self._progress, halves)

    def _right(self, story: Story) -> RenderableType:
        with self._lock:
            lines = [_one_line(told.text, _COLOURS.get(told.kind, "")) for told in self._recent]
        return Group(
            _incident_panel(next(reversed(story.incidents.values()), None)),
            _orders_panel(list(story.orders.values())[-2:]),
            _panel(lines, "what happens", "all quiet"),
        )


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _panel(lines: list[Text], title: str, nothing: str) -> Panel:
    return Panel(Group(*lines) if lines else Text(nothing, style="dim"), title=title, title_align="left")


def _parts_panel(story: Story) -> Panel:
    table = Table(box=None, expand=True, pad_edge=False)
    for name, justify in (("part", "left"), ("evaluation", "left"), ("disposition", "left"), ("ms", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("found", no_wrap=True, overflow="ellipsis")
    for row in list(story.rows):
        found = ", ".join(f"{count} {code}" for code, count in row.defects.items()) or row.reason
        colour = _EVALUATIONS.get(row.evaluation, "")
        shown = found if row.evaluation != "OK" else ""
        table.add_row(
            row.part_id[-7:], Text(row.evaluation, style=colour), row.disposition, f"{row.ms:.0f}", Text(shown)
        )
    counts = "  ".join(f"{name} {number}" for name, number in story.evaluations.most_common())
    return Panel(table, title="inspection", subtitle=counts, title_align="left")


def _incident_panel(card: IncidentCard | None) -> Panel:
    if card is None:
        return _panel([], "incident, evidence, suspects", "no incident")
    lines = [_one_line(f"{card.code}: {card.defective} of the last {card.parts} parts", "bold red")]
    lines += [_one_line(f"+ {statement}") for statement in card.evidence[:4]]
    for rank, (name, grade, p) in enumerate(card.suspects, 1):
        lines.append(_one_line(f"{rank}. {name}: {grade} ({p:.0%})", "magenta"))
    return _panel(lines, "incident, evidence, suspects", "")


def _orders_panel(cards: list[OrderCard]) -> Panel:
    lines: list[Text] = []
    for card in cards:
        lines.append(_one_line(f"{card.number} P{card.priority} {card.state}: {card.description}", "blue"))
        if card.note:
            lines.append(Text(f"   language model's note: {card.note}", style="italic"))
        lines += [_one_line(f"   {answer}", "green") for answer in card.answers[-2:]]
    return _panel(lines, "work orders and answers", "none")


def audience(plain: bool = False) -> Audience:
    """The picture on a terminal, lines elsewhere."""
    console = Console(file=sys.stdout)
    return Screen(console) if console.is_terminal and not plain else Lines(console)
