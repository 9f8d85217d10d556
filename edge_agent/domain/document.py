"""A document made for people."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A printed document: a work-order sheet, a shift report.

    Attributes:
        kind: ``work-order`` or ``shift``.
        path: relative to the document folder of the state directory.
        subject_id: the order's or incident's id; None for a period report.
    """

    document_id: UUID
    kind: str
    title: str
    path: str
    sha256: str
    size_bytes: int
    made_at: datetime
    subject_id: UUID | None = None
    revision: int = 0
    period_from: datetime | None = None
    period_to: datetime | None = None
