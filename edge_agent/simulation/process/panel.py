"""What leaves the line: a panel with its history and, hidden in it, its flaws."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One imperfection the process left in the copper.

    Attributes:
        code: defect class.
        x_mm, y_mm: on the panel; x across the web, y along travel.
        severity: 0 to 1, small to gross.
        mechanism: what made it; known to the simulation only.
    """

    code: str
    x_mm: float
    y_mm: float
    severity: float
    mechanism: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel under the inspection camera.

    Attributes:
        strata: what it went through (phototool, frame, laminator, lots, ...), as the plant's tracking knows it.
        illumination: brightness of the inspection lamp, 1 is nominal.
        defocus_px: blur of the inspection camera.
    """

    number: int
    product_id: str
    lot_id: str
    strata: Mapping[str, str]
    flaws: tuple[Flaw, ...] = ()
    illumination: float = 1.0
    defocus_px: float = 0.0
    noise_seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An event as the plant's log shows it (contract: ``{"kind", "at", "subject"?, "attributes"?}``)."""

    kind: str
    subject: str
    attributes: Mapping[str, str] = field(default_factory=dict)
