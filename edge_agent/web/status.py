"""What the pages are told about the running box."""

from typing import TypedDict


class Component(TypedDict):
    """One component: ``condition`` is ``starting``, ``ok``, ``degraded`` or ``down``; ``since`` is ISO 8601."""

    component: str
    condition: str
    detail: str
    since: str


class Status(TypedDict):
    """The whole box.

    ``alive``: work is being done (the watchdog's opinion); ``ready``: parts would be inspected now.
    """

    alive: bool
    ready: bool
    components: list[Component]
