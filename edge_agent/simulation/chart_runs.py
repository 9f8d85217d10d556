"""How long the charts of rates run until they signal: drawn defect by defect, so that rare ones cost no more.

The arithmetic is that of `edge_agent.domain.quality` (a test follows both, part by part); only the parts between two
defects are taken in one step.
"""

from dataclasses import dataclass, field

import numpy as np

from edge_agent.domain.quality import CAP_ABOVE, GAPS, Chart, GapChart

MAX_DEFECTS = 1_000_000


@dataclass(slots=True, kw_only=True)
class ChartRun:
    """The charts of one class, as the responder reads them.

    Attributes:
        cusum: None leaves it out, with its least number of defective parts.
        gap_chart: None leaves it out.
    """

    cusum: Chart | None = None
    min_defective: int = 3
    gap_chart: GapChart | None = None
    value: float = 0.0
    defective: int = 0
    gaps: list[int] = field(default_factory=list)
    seen: bool = False

    def defect(self, gap: int) -> bool:
        """The next defective part comes ``gap`` parts after the one before (or the start). Is there a signal?"""
        cusum_signals = self._accumulate(gap) if self.cusum else False
        if self.gap_chart is None:
            return cusum_signals
        if self.seen:
            self.gaps = [*self.gaps[-(GAPS - 1) :], gap]
        self.seen = True
        return cusum_signals or self.gap_chart.signals(self.gaps)

    def _accumulate(self, gap: int) -> bool:
        assert self.cusum is not None
        fallen = self.value + (gap - 1) * self.cusum.good_step
        if fallen <= 0:
            fallen, self.defective = 0.0, 0
        self.value = min(fallen + self.cusum.defective_step, self.cusum.threshold + CAP_ABOVE)
        self.defective += 1
        return self.value >= self.cusum.threshold and self.defective >= self.min_defective


def parts_to_signal(run: ChartRun, rate: float, random: np.random.Generator) -> int:
    """Parts until the charts signal, from the start, at a true ``rate``.

    Raises:
        RuntimeError: no signal within a million defects.
    """
    parts = 0
    for _ in range(MAX_DEFECTS):
        gap = int(random.geometric(rate))
        parts += gap
        if run.defect(gap):
            return parts
    raise RuntimeError(f"no signal within {MAX_DEFECTS} defects at a rate of {rate}")
