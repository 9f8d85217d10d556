"""A station as a Sparkplug device: which metrics it has, and what an inspection makes of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from edge_agent.contract.sparkplug.edge_node import Tag
from edge_agent.contract.sparkplug.payload import DataType, Value
from edge_agent.domain.inspection import Disposition, Inspection

YIELD_OVER = 100
"""Parts that the yield is taken from: the newest ones."""

STATION_TAGS = (
    Tag(name="Part", datatype=DataType.STRING),
    Tag(name="Product", datatype=DataType.STRING),
    Tag(name="Result", datatype=DataType.STRING),
    Tag(name="Disposition", datatype=DataType.STRING),
    Tag(name="Score", datatype=DataType.DOUBLE),
    Tag(name="Cycle Time", datatype=DataType.DOUBLE, unit="ms"),
    Tag(name="Defects/Count", datatype=DataType.INT64),
    Tag(name="Defects/Total", datatype=DataType.INT64),
    Tag(name="Count", datatype=DataType.INT64),
    Tag(name="Accepted", datatype=DataType.INT64),
    Tag(name="Rejected", datatype=DataType.INT64),
    Tag(name="Held", datatype=DataType.INT64),
    Tag(name="Yield", datatype=DataType.DOUBLE, unit="%"),
)
"""Counters count from the day the output was switched on; the yield is of the last hundred parts."""

NODE_TAGS = (
    Tag(name="Software Version", datatype=DataType.STRING),
    Tag(name="Health", datatype=DataType.STRING),
    Tag(name="Outbox/Pending", datatype=DataType.INT64),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A station's counters, as they are kept across restarts."""

    count: int = 0
    accepted: int = 0
    rejected: int = 0
    held: int = 0
    defects: int = 0
    recent: str = ""
    """The last parts, one character each: ``1`` accepted, ``0`` not."""

    @classmethod
    def of(cls, kept: Any) -> Self:
        """From what `kept` made; nothing of it is taken when it is something else."""
        if not isinstance(kept, dict) or set(kept) != set(asdict(cls())):
            return cls()
        return cls(**kept)

    def kept(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)

    def plus(self, inspection: Inspection) -> Self:
        """The counters after this part."""
        disposition = inspection.disposition
        good = "1" if disposition is Disposition.ACCEPT else "0"
        return replace(
            self,
            count=self.count + 1,
            accepted=self.accepted + (disposition is Disposition.ACCEPT),
            rejected=self.rejected + (disposition is Disposition.REJECT),
            held=self.held + (disposition is Disposition.HOLD),
            defects=self.defects + len(inspection.defects),
            recent=(self.recent + good)[-YIELD_OVER:],
        )


def station_values(inspection: Inspection, totals: Totals) -> Mapping[str, Value]:
    """Every tag's value after this inspection, whose part ``totals`` has counted."""
    return {
        "Part": inspection.shot.part_id,
        "Product": inspection.shot.product_id,
        "Result": inspection.evaluation.value,
        "Disposition": inspection.disposition.value,
        "Score": float(inspection.score),
        "Cycle Time": float(inspection.duration_ms),
        "Defects/Count": len(inspection.defects),
        "Defects/Total": totals.defects,
        "Count": totals.count,
        "Accepted": totals.accepted,
        "Rejected": totals.rejected,
        "Held": totals.held,
        "Yield": round(100.0 * totals.recent.count("1") / max(1, len(totals.recent)), 2),
    }
