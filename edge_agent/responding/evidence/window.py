"""What the tools look at: one incident with everything around it, read once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edge_agent.domain.counting import counted_defects, is_decided, shows
from edge_agent.domain.drift import Watched
from edge_agent.domain.evidence import NAMED, Evidence, Polarity
from edge_agent.domain.incident import Incident
from edge_agent.domain.inspection import Inspection
from edge_agent.domain.plant import PlantEvent, Sample, Signal
from edge_agent.domain.step import Step
from edge_agent.domain.token import signal_of
from edge_agent.domain.verdict import ConfirmedCase
from edge_agent.responding.similarity import ByWords, Similar

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Window:
    """An incident and its surroundings. Tools are pure functions of it.

    Attributes:
        codes: the defect classes of the incident's family.
        all_codes: every class of the catalogue.
        before, after: inspections of the station, oldest first, before and since the onset.
        onset_at: the best single guess; the incident holds the interval.
        series: process signals over the whole span; a known signal without readings is there and empty.
        expected: the catalogue's vocabulary; only these tokens can tell causes apart.
        base_rates: class to its normal share of defective parts.
        similar: finds similar cases.
        size_wh_px: extent of the part in golden-image pixels.
        descriptions: what a model that sees said of the incident's pictures, as far as it was accepted.
        drift: what the station's watch knows of the inspection itself, over longer than this window.
    """

    incident: Incident
    codes: tuple[str, ...]
    all_codes: tuple[str, ...]
    before: tuple[Inspection, ...]
    after: tuple[Inspection, ...]
    onset_at: datetime
    series: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    signals: Mapping[str, Signal] = field(default_factory=dict)
    events: tuple[PlantEvent, ...] = ()
    cases: tuple[ConfirmedCase, ...] = ()
    expected: frozenset[str] = frozenset()
    base_rates: Mapping[str, float] = field(default_factory=dict)
    similar: Similar = field(default_factory=ByWords)
    size_wh_px: tuple[float, float] = (640.0, 640.0)
    drift: Watched = field(default_factory=Watched)
    descriptions: tuple[Step, ...] = ()

    def signal_label(self, name: str) -> str:
        """What people call a signal."""
        return self.signals[name].label if name in self.signals else name.replace("_", " ")

    @cached_property
    def takt(self) -> timedelta:
        """Median time between parts."""
        times = [made_at(one).timestamp() for one in (*self.before, *self.after)]
        gaps = np.diff(times)
        return timedelta(seconds=float(np.median(gaps)) if gaps.size else 1.0)

    @cached_property
    def decided_before(self) -> tuple[Inspection, ...]:
        """Judged parts before the onset."""
        return tuple(one for one in self.before if is_decided(one))

    @cached_property
    def decided_after(self) -> tuple[Inspection, ...]:
        """Judged parts since the onset."""
        return tuple(one for one in self.after if is_decided(one))

    @cached_property
    def defective_after(self) -> tuple[Inspection, ...]:
        """Parts since the onset that are defective in the incident's family."""
        return tuple(one for one in self.after if shows(one, self.codes))

    @cached_property
    def marks(self) -> "Marks":
        """Where the family's defects are, since the onset."""
        return marks_of(self.defective_after, self.codes)

    @cached_property
    def marks_before(self) -> "Marks":
        """Where they were before."""
        return marks_of(self.before, self.codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Defects as points.

    Attributes:
        xy_px: (n, 2) centres in golden-image pixels (the part's shift is taken out).
        size_px: (n, 2) width and height of the boxes.
        part: (n,) which part each is on.
        parts: number of parts.
    """

    xy_px: Floats
    size_px: Floats
    part: npt.NDArray[np.int64]
    parts: int

    def __len__(self) -> int:
        return len(self.part)

    def by_part(self) -> Iterator[npt.NDArray[np.int64]]:
        """The indices of each part's defects."""
        for number in range(self.parts):
            yield np.flatnonzero(self.part == number)


def marks_of(inspections: tuple[Inspection, ...], codes: tuple[str, ...]) -> Marks:
    """The counted defects of some classes as points in golden-image coordinates."""
    rows: list[tuple[float, float, float, float, int]] = []
    number = 0
    for inspection in inspections:
        found = [defect for defect in counted_defects(inspection) if defect.code in codes]
        quality = inspection.quality
        shift_x, shift_y = (quality.shift_xy_px if quality else None) or (0.0, 0.0)
        for defect in found:
            x0, y0, x1, y1 = defect.xyxy_px
            rows.append(((x0 + x1) / 2 - shift_x, (y0 + y1) / 2 - shift_y, x1 - x0, y1 - y0, number))
        number += bool(found)
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Marks(xy_px=table[:, :2], size_px=table[:, 2:4], part=table[:, 4].astype(np.int64), parts=number)


def made_at(inspection: Inspection) -> datetime:
    """When the part was in front of the camera: what compares with process signals."""
    return inspection.shot.triggered_at


def fact(
    window: Window,
    *,
    tool: str,
    token: str | None,
    statement: str,
    present: bool | None,
    strength: float,
    n: int,
    value: float | None = None,
    unit: str = "",
    baseline: float | None = None,
    sigma: float | None = None,
    scope: Mapping[str, str] | None = None,
    confounded_with: tuple[str, ...] = (),
    provenance: Mapping[str, str] | None = None,
) -> Evidence:
    """One fact without its id; ``present`` None means that it could not be looked for."""
    signal = signal_of(token or "")
    named = {NAMED: window.signal_label(signal)} if signal else {}
    polarity = {True: Polarity.PRESENT, False: Polarity.ABSENT, None: Polarity.UNKNOWN}[present]
    return Evidence(
        evidence_id="",
        tool=tool,
        token=token,
        statement=statement,
        polarity=polarity,
        strength=min(max(strength, 0.0), 0.999),
        n=n,
        window_from=window.incident.onset_from,
        window_to=window.incident.updated_at,
        value=value,
        unit=unit,
        baseline=baseline,
        sigma=sigma,
        scope={"station": window.incident.station_id, **(scope or {})},
        confounded_with=confounded_with,
        provenance=named | dict(provenance or {}),
    )
