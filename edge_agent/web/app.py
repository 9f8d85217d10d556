"""The web application: pages for people, probes for programs. Reads only; what it shows comes through ports."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jinja2
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from edge_agent import __version__
from edge_agent.domain.cause import Catalogue
from edge_agent.domain.faults import Transient
from edge_agent.ports import Clock, ImageStore, Store
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.web import views
from edge_agent.web.status import Status

_HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_IMAGES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
_DOCUMENTS = {".pdf": "application/pdf"}
_KEPT = "private, max-age=86400, immutable"
_NO_TELEMETRY: Any = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
"""FastAPI >= 0.165 exports traces when the environment says so; this box tells nobody, whatever is set."""

NO_CATALOGUE = Catalogue(domain="", version="", causes=(), severity={})


def build_app(
    *,
    store: Store,
    images: ImageStore,
    images_dir: Path,
    documents_dir: Path,
    status: Callable[[], Status],
    clock: Clock,
    letterhead: Letterhead,
    catalogue: Catalogue = NO_CATALOGUE,
    registry: CollectorRegistry = REGISTRY,
) -> FastAPI:
    """The application, ready to be served.

    Args:
        store: read through `Store.reader` only.
        images: finds pictures of parts.
        images_dir: files below it are served under ``/images``.
        documents_dir: PDF files below it are served under ``/documents``.
        status: the state of the running box, asked at each request; must be quick.
        clock: the time.
        letterhead: names, labels and the time zone that pages show.
        catalogue: names of causes.
        registry: what ``/metrics`` shows.
    """
    app = FastAPI(
        title="edge-agent",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=_NO_TELEMETRY,
    )
    desk = _Desk(store, views.House(letterhead=letterhead, catalogue=catalogue, images=images), status, clock)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    app.include_router(_pages(desk))
    app.include_router(_regions(desk))
    app.include_router(_files(images_dir, documents_dir))
    app.include_router(_probes(status, registry))
    app.middleware("http")(_guarded)
    app.add_exception_handler(HTTPException, desk.refused)
    app.add_exception_handler(RequestValidationError, desk.refused)
    app.add_exception_handler(Transient, desk.unavailable)
    return app


async def _guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Every answer says what a browser may do with it."""
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


class _Desk:
    """Renders pages."""

    def __init__(self, store: Store, house: views.House, status: Callable[[], Status], clock: Clock) -> None:
        self.store, self.house, self.status, self.clock = store, house, status, clock
        self._pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        letterhead = house.letterhead
        self._pages.filters.update(time=_seconds(letterhead), date_time=letterhead.date_time, ago=self._ago, ms=_ms)
        self._pages.filters["since"] = self._since
        self._pages.globals.update(letterhead=letterhead, version=__version__)

    def page(self, template: str, status_code: int = 200, **data: Any) -> HTMLResponse:
        """A page with the state of the box in its head."""
        body = self._pages.get_template(template).render(box=self.status(), now=self.clock.now(), **data)
        return HTMLResponse(body, status_code=status_code)

    def refused(self, request: Request, error: Exception) -> Response:
        """No such page, part or order (or an address that cannot be one)."""
        code = error.status_code if isinstance(error, HTTPException) else 404
        text = error.detail if isinstance(error, HTTPException) and code != 404 else "There is nothing here."
        return self.page("message.html", code, title="Not found" if code == 404 else "Not possible", text=text)

    def unavailable(self, request: Request, error: Exception) -> Response:
        """The store is busy or away; the page tries again by itself."""
        text = f"The store does not answer at the moment ({error}). Inspection goes on; this page tries again."
        return self.page("message.html", 503, title="One moment", text=text)

    def _ago(self, at: datetime) -> str:
        return ago(self.clock.now(), at)

    def _since(self, text: str) -> str:
        """A status' instant for people; what is none is shown as it came."""
        try:
            at = datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            return text
        return f"{self.house.letterhead.date_time(at)} ({self._ago(at)})"


def _seconds(letterhead: Letterhead) -> Callable[[datetime], str]:
    return lambda at: at.astimezone(letterhead.timezone).strftime("%H:%M:%S")


def _ms(value: float | None) -> str:
    return "–" if value is None or value <= 0 else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def ago(now: datetime, at: datetime) -> str:
    """``just now``, ``40 s ago``, ``5 min ago``, ``3 h ago``, ``2 d ago``; ``in 2 h`` for what is to come."""
    seconds = (now - at).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "just now"
    steps = ((86_400 * 2, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))
    _, unit, word = next(step for step in steps if size >= step[0])
    text = f"{size / unit:.0f} {word}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def _pages(desk: _Desk) -> APIRouter:
    router = APIRouter(default_response_class=HTMLResponse)
    house = desk.house

    @router.get("/")
    def line() -> Response:
        with desk.store.reader() as uow:
            return desk.page("line.html", at="line", **views.line_view(uow, house, desk.clock.now()))

    @router.get("/parts")
    def parts(evaluation: str = "", q: str = "") -> Response:
        known = evaluation if evaluation in views.WORDS else ""
        with desk.store.reader() as uow:
            return desk.page("parts.html", at="parts", **views.parts_view(uow, house, evaluation=known, query=q[:100]))

    @router.get("/parts/{inspection_id}")
    def part(inspection_id: UUID) -> Response:
        with desk.store.reader() as uow:
            found = views.part_view(uow, house, inspection_id)
        return desk.page("part.html", at="parts", **_existing(found))

    @router.get("/orders")
    def orders() -> Response:
        with desk.store.reader() as uow:
            return desk.page("orders.html", at="orders", **views.orders_view(uow, house))

    @router.get("/orders/{order_id}")
    def order(order_id: UUID) -> Response:
        with desk.store.reader() as uow:
            found = views.order_view(uow, house, order_id)
        return desk.page("order.html", at="orders", **_existing(found))

    @router.get("/documents")
    def documents() -> Response:
        with desk.store.reader() as uow:
            return desk.page("documents.html", at="documents", documents=uow.documents.list(limit=views.LISTED))

    @router.get("/health")
    def health() -> Response:
        return desk.page("health.html", at="health", **_health(desk))

    return router


def _regions(desk: _Desk) -> APIRouter:
    """Parts of pages, fetched again and again by the page's script."""
    router = APIRouter(prefix="/live", default_response_class=HTMLResponse)

    @router.get("/line")
    def line_live() -> Response:
        with desk.store.reader() as uow:
            return desk.page("line_live.html", **views.line_view(uow, desk.house, desk.clock.now()))

    @router.get("/status")
    def status_live() -> Response:
        return desk.page("status_live.html")

    @router.get("/health")
    def health_live() -> Response:
        return desk.page("health_live.html", **_health(desk))

    return router


def _health(desk: _Desk) -> dict[str, Any]:
    components = [part["component"].partition(":") for part in desk.status()["components"]]
    watched, challenged = (
        [station for kind, _, station in components if kind == wanted] for wanted in ("drift", "challenge")
    )
    with desk.store.reader() as uow:
        return {
            "outbox": uow.outbox.counts(),
            "oldest": uow.outbox.oldest_pending(),
            "models": [views.model_row(uow, line) for line in desk.status()["models"]],
            "drift": views.drift_rows(uow, watched),
            "challenges": views.challenges(uow, challenged),
        }


def _existing(found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        raise HTTPException(404)
    return found


def _files(images_dir: Path, documents_dir: Path) -> APIRouter:
    router = APIRouter()

    @router.get("/images/{path:path}")
    def image(path: str) -> Response:
        return _served(images_dir, path, _IMAGES)

    @router.get("/documents/{path:path}")
    def document(path: str) -> Response:
        return _served(documents_dir, path, _DOCUMENTS)

    return router


def _served(folder: Path, path: str, kinds: dict[str, str]) -> Response:
    """A file of a known kind that really lies below the folder, links followed; anything else is not found."""
    root = folder.resolve()
    try:
        found = (root / path).resolve()
        usable = found.is_relative_to(root) and found.suffix.lower() in kinds and found.is_file()
    except (OSError, ValueError):
        usable = False
    hidden = any(part.startswith(".") for part in Path(path).parts)
    if not usable or hidden:
        raise HTTPException(404)
    headers = {"Cache-Control": _KEPT, "Content-Disposition": f'inline; filename="{found.name}"'}
    return FileResponse(found, media_type=kinds[found.suffix.lower()], headers=headers)


def _probes(status: Callable[[], Status], registry: CollectorRegistry) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    def alive() -> Response:
        now = status()
        return JSONResponse({"alive": now["alive"]}, status_code=200 if now["alive"] else 503)

    @router.get("/readyz")
    def ready() -> Response:
        now = status()
        parts = {part["component"]: part["condition"] for part in now["components"]}
        body = {"ready": now["ready"], "components": parts, "at": datetime.now(UTC).isoformat()}
        return JSONResponse(body, status_code=200 if now["ready"] else 503)

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
