"""The plant's own codes: what it calls our assets, defect classes, causes and actions."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantCodes:
    """Ours to the plant's, one to one. What is not listed is called the same by both."""

    assets: Mapping[str, str] = field(default_factory=dict)
    defect_classes: Mapping[str, str] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)

    def asset(self, own: str) -> str:
        return self.assets.get(own, own)

    def defect_class(self, own: str) -> str:
        return self.defect_classes.get(own, own)

    def cause(self, own: str) -> str:
        return self.causes.get(own, own)

    def action(self, own: str) -> str:
        return self.actions.get(own, own)

    def own_cause(self, theirs: str) -> str:
        """What comes back from the plant, in our words."""
        return _own(self.causes, theirs)

    def own_action(self, theirs: str) -> str:
        """What comes back from the plant, in our words."""
        return _own(self.actions, theirs)


def _own(codes: Mapping[str, str], theirs: str) -> str:
    return next((own for own, code in codes.items() if code == theirs), theirs)
