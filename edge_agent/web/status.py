"""What the pages are told about the running box."""

from typing import TypedDict

from edge_agent.domain.defect import ModelRef


class Component(TypedDict):
    """One component: ``condition`` is ``starting``, ``ok``, ``degraded`` or ``down``; ``since`` is ISO 8601."""

    component: str
    condition: str
    detail: str
    since: str


class StationModel(TypedDict):
    """The models of one station: what is ``live`` (for people), who looks beside it, and how many parts that missed."""

    station: str
    live: str
    shadow: ModelRef | None
    missed: int


class Status(TypedDict):
    """The whole box.

    ``alive``: work is being done (the watchdog's opinion); ``ready``: parts would be inspected now.
    """

    alive: bool
    ready: bool
    components: list[Component]
    models: list[StationModel]
