"""The worker that prints: a sheet for every order's newest revision, one to file, and the reports that were asked for.

Nothing is queued in memory. What lacks a document is found in the store, so that a restart forgets nothing, and an
order that was revised five times while the printer was away is printed once.
"""

import hashlib
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog

from edge_agent.contract.envelope import Sender
from edge_agent.contract.outbound import report
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.document import Document
from edge_agent.domain.faults import Transient
from edge_agent.domain.work_order import OrderState, WorkOrder
from edge_agent.ports import Clock, DocumentPrinter, ImageStore, PrintJob, Store, UnitOfWork
from edge_agent.responding.documents.closing import is_filed
from edge_agent.responding.documents.house import note_house
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.sheet import sheet_path, work_order_sheet
from edge_agent.responding.documents.shift import shift_path, shift_report

log = structlog.get_logger(__name__)

REQUESTS = "documents.requests"
"""The fact that holds the periods to report on: a list of [start, end] in ISO 8601."""
_MOST_REQUESTS = 100
_ORDERS_READ = 200
_DOCUMENTS_READ = 1_000
_TRIES = 3
_REST = timedelta(minutes=10)
_UNPRINTED = frozenset({OrderState.DRAFT, OrderState.CANCELLED})
_Sheet = tuple[UUID, int, bool]
"""Order, revision, and whether it is the sheet that is filed."""


def request_shift_report(uow: UnitOfWork, start: datetime, end: datetime) -> None:
    """Ask for a report on [start, end); asking twice for the same period prints it once.

    Beyond a hundred waiting requests the oldest are dropped: the printer has been away for a month.
    """
    asked: list[list[str]] = uow.facts.get(REQUESTS) or []
    wanted = [start.isoformat(), end.isoformat()]
    if wanted not in asked:
        uow.facts.set(REQUESTS, [*asked, wanted][-_MOST_REQUESTS:])


class DocumentMaker:
    """Implements ``ports.Worker``.

    Args:
        store: where orders and requests are found, and documents written down.
        clock: the time.
        printer: makes the PDF; closed at teardown.
        images: photos.
        folder: the document folder of the state directory.
        sender: who announces documents to the plant.
        catalogue: names of causes.
        letterhead: who prints.
        shift_ends: local times, ``HH:MM``; noted for reports that are asked for later.
        deadline_s: for one document.
        idle_s: how long a step without work waits.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        printer: DocumentPrinter,
        images: ImageStore,
        folder: Path,
        sender: Sender,
        catalogue: Catalogue,
        letterhead: Letterhead,
        shift_ends: Sequence[str] = (),
        deadline_s: float = 60,
        idle_s: float = 0.5,
    ) -> None:
        self._store = store
        self._clock = clock
        self._printer = printer
        self._images = images
        self._folder = folder
        self._sender = sender
        self._catalogue = catalogue
        self._letterhead = letterhead
        self._shift_ends = tuple(shift_ends)
        self._deadline_s = deadline_s
        self._idle = threading.Event()
        self._idle_s = idle_s
        self._tries: dict[_Sheet, int] = {}
        self._resting: dict[_Sheet, datetime] = {}

    def setup(self) -> None:
        """Make the folder and note whose it is. Raises Transient: it cannot be made."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Transient(f"cannot make the document folder {self._folder}: {error}") from error
        with self._store.unit() as uow:
            note_house(uow, self._letterhead, self._catalogue, shift_ends=self._shift_ends)
            uow.commit()

    def step(self) -> bool:
        """Print one document, or wait half a second. Raises Transient: the printer failed; it is tried again."""
        with self._store.reader() as uow:
            order = self._unprinted(uow)
            requests = uow.facts.get(REQUESTS) or []
        if order is not None:
            self._print_sheet(order)
        elif requests:
            start, end = (datetime.fromisoformat(text) for text in requests[0])
            self.shift(start, end)
        else:
            self._idle.wait(self._idle_s)
            return False
        return True

    def teardown(self) -> None:
        """End the printer."""
        self._printer.close()

    def shift(self, start: datetime, end: datetime) -> Document:
        """Print the report on [start, end) now, write it down, announce it, and settle its request.

        Raises:
            Transient: it could not be printed; the request stays.
        """
        with self._store.reader() as uow:
            job = shift_report(uow, self._images, start, end, self._letterhead)
        title = f"Shift report {self._letterhead.date_time(start)} to {self._letterhead.date_time(end)}"
        document = self._printed(job, shift_path(start, end), kind="shift", title=title, period=(start, end))
        with self._store.unit() as uow:
            settled = [start.isoformat(), end.isoformat()]
            uow.facts.set(REQUESTS, [asked for asked in uow.facts.get(REQUESTS) or [] if asked != settled])
            self._announce(uow, document, None, ())
            uow.commit()
        log.info("shift report printed", path=document.path, size_bytes=document.size_bytes)
        return document

    def _unprinted(self, uow: UnitOfWork) -> WorkOrder | None:
        """The order longest without a sheet of its newest revision (or of its end) that is not resting after failures.

        A revision that came too late to be printed before the order was closed is on the sheet that is filed.
        """
        known = {document.path for document in uow.documents.list(kind="work-order", limit=_DOCUMENTS_READ)}
        now = self._clock.now()
        waiting = [
            order
            for order in uow.orders.list(limit=_ORDERS_READ)
            if order.state not in _UNPRINTED
            and sheet_path(order).as_posix() not in known
            and self._resting.get(_key(order), now) <= now
            and not _was_printed(uow, order)
        ]
        return min(waiting, key=lambda order: (self._tries.get(_key(order), 0), order.updated_at), default=None)

    def _print_sheet(self, order: WorkOrder) -> None:
        try:
            with self._store.reader() as uow:
                job = work_order_sheet(uow, self._images, order, self._catalogue, self._letterhead)
            document = self._printed(job, sheet_path(order), kind="work-order", title=_title(order), order=order)
        except Transient:
            self._note_failure(order)
            raise
        with self._store.unit() as uow:
            self._announce(uow, document, order.order_id, order.inspection_ids)
            uow.commit()
        self._tries.pop(_key(order), None)
        self._resting.pop(_key(order), None)
        log.info("work order printed", order=order.number, revision=order.revision, path=document.path)

    def _note_failure(self, order: WorkOrder) -> None:
        """One order that cannot be printed must not keep the others from the printer."""
        self._tries[_key(order)] = tries = self._tries.get(_key(order), 0) + 1
        if tries % _TRIES == 0:
            self._resting[_key(order)] = self._clock.now() + _REST
            log.error("work order cannot be printed, trying again later", order=order.number, tries=tries)

    def _printed(
        self,
        job: PrintJob,
        path: Path,
        *,
        kind: str,
        title: str,
        order: WorkOrder | None = None,
        period: tuple[datetime, datetime] | None = None,
    ) -> Document:
        target = self._folder / path
        self._printer.print(job, target, self._deadline_s)
        body = target.read_bytes()
        return Document(
            document_id=self._clock.new_id(),
            kind=kind,
            title=title,
            path=path.as_posix(),
            sha256=hashlib.sha256(body).hexdigest(),
            size_bytes=len(body),
            made_at=self._clock.now(),
            subject_id=order.order_id if order else None,
            revision=order.revision if order else 0,
            period_from=period[0] if period else None,
            period_to=period[1] if period else None,
        )

    def _announce(
        self, uow: UnitOfWork, document: Document, order_id: UUID | None, inspection_ids: Sequence[UUID]
    ) -> None:
        """The row and its message in one transaction: neither without the other."""
        uow.documents.add(document)
        uow.outbox.add(
            report(document, sender=self._sender, clock=self._clock, order_id=order_id, inspection_ids=inspection_ids)
        )


def _was_printed(uow: UnitOfWork, order: WorkOrder) -> bool:
    """Asks for this order alone: on a box with thousands of documents the newest do not tell of an old order."""
    documents = uow.documents.list(kind="work-order", subject_id=order.order_id, limit=_DOCUMENTS_READ)
    return any(document.path == sheet_path(order).as_posix() for document in documents)


def _title(order: WorkOrder) -> str:
    end = f" ({order.state})" if is_filed(order) else ""
    return f"{order.number}{end}: {order.problem}"


def _key(order: WorkOrder) -> _Sheet:
    return order.order_id, order.revision, is_filed(order)
