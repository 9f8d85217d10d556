"""The pages of the reference MES: orders, and an answer in half a minute."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jinja2
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from edge_agent import __version__
from edge_agent.mes.book import Book, NotPossible, Order, written
from edge_agent.web.app import HEADERS, ago

_HERE = Path(__file__).parent
_LARGEST_FORM = 64 * 1024
NOTHING_FOUND, SOMETHING_ELSE = "NONE", "OTHER"
WORDS: Mapping[str, str] = {
    "accepted": "Accept",
    "rejected": "Reject",
    "started": "Start the work",
    "held": "Hold",
    "completed": "Work is done",
    "closed": "Close",
    "aborted": "Abort",
}
"""What the buttons say."""


def build_mes_app(book_file: Path, is_connected: Callable[[], bool], broker: str) -> FastAPI:
    """The application; it reads and writes the MES' book, and the office says what was written.

    Args:
        is_connected: to the broker, asked at each page.
        broker: named on each page.
    """
    app = FastAPI(title="edge-agent reference MES", docs_url=None, redoc_url=None, openapi_url=None)
    pages = _environment()
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def page(template: str, status_code: int = 200, **data: Any) -> HTMLResponse:
        body = pages.get_template(template).render(connected=is_connected(), broker=broker, **data)
        return HTMLResponse(body, status_code=status_code, headers={**HEADERS, "Cache-Control": "no-store"})

    def lists() -> dict[str, Any]:
        with closing(Book(book_file)) as book:
            return {
                "boxes": book.boxes(),
                "orders": [_row(order) for order in book.orders()],
                "counts": book.counts(),
                "unheard": book.unheard(),
            }

    @app.get("/")
    def overview() -> Response:
        return page("mes/overview.html", **lists())

    @app.get("/live")
    def overview_live() -> Response:
        return page("mes/overview_live.html", **lists())

    @app.get("/orders/{name}")
    def order(name: str) -> Response:
        return _order_page(page, book_file, name)

    @app.post("/orders/{name}/answer")
    async def answer(name: str, request: Request) -> Response:
        if not _is_ours(request):
            return page("mes/message.html", 403, title="Refused", text="This form was not sent from this page.")
        body = await request.body()
        form = parse_qs(body[:_LARGEST_FORM].decode("utf-8", "replace"))
        try:
            written(book_file, name, **_answer(form))
        except NotPossible as error:
            return _order_page(page, book_file, name, problem=str(error), status_code=409)
        return RedirectResponse(f"/orders/{name}", status_code=303)

    return app


def _environment() -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a box of another version may leave fields out
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["ago"] = lambda seconds: ago(datetime.now(UTC), datetime.fromtimestamp(seconds, UTC))
    pages.filters["clock"] = lambda seconds: time.strftime("%d %b %H:%M:%S", time.localtime(seconds))
    pages.filters["instant"] = lambda text: datetime.fromisoformat(text).timestamp()
    pages.globals.update(version=__version__, words=WORDS, nothing=NOTHING_FOUND, other=SOMETHING_ELSE)
    return pages


def _order_page(
    page: Callable[..., Response], book_file: Path, name: str, *, problem: str = "", status_code: int = 200
) -> Response:
    with closing(Book(book_file)) as book:
        try:
            order = book.order(name)
        except NotPossible as error:
            return page("mes/message.html", 404, title="Not found", text=str(error))
        return page(
            "mes/order.html",
            status_code,
            order=order,
            row=_row(order),
            wo=_safe(order.document),
            answers=book.answers(order.order_id),
            reports=[one for one in book.reports(order.order_id) if _is_web(one["uri"])],
            problem=problem,
        )


def _row(order: Order) -> dict[str, Any]:
    document = order.document
    first = next(iter(document.get("suspects", ())), None)
    return {
        "id": order.order_id,
        "mes_id": order.mes_id,
        "number": document["number"],
        "box": order.root.rpartition("/")[2],
        "rev": order.rev,
        "state": order.state,
        "priority": document.get("priority", 3),
        "priority_word": document.get("priorityReason", ""),
        "problem": document["description"],
        "suspect": f"{first['name']} ({first['grade']})" if first else "",
        "opened_at": order.opened_at,
        "changed_at": order.changed_at,
    }


def _safe(document: Mapping[str, Any]) -> dict[str, Any]:
    """The box's document with only such links as a browser may follow, and nothing missing."""
    lists = {name: document.get(name) or [] for name in ("suspects", "checks", "imageRefs", "gathered", "causeChoices")}
    lists["imageRefs"] = [one for one in lists["imageRefs"] if _is_web(one.get("uri", ""))]
    defaults = {
        "text": "",
        "note": None,
        "openSet": False,
        "rankingHidden": False,
        "containment": None,
        "endTime": None,
    }
    return {**defaults, **document, **lists}


def _is_web(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def _is_ours(request: Request) -> bool:
    """A form of another site would carry that site's name."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _answer(form: Mapping[str, list[str]]) -> dict[str, Any]:
    """The arguments of `Book.answer` from a form's fields."""

    def one(name: str) -> str:
        return form.get(name, [""])[0].strip()

    event = one("event")
    given: dict[str, Any] = {"event": event, "reason": one("reason")[:1_000], "suspicion": one("suspicion")[:64]}
    if one("rev").isdigit():
        given["rev"] = int(one("rev"))
    if event == "closed":
        given["actual"] = {
            "causeCode": one("cause") or None,
            "causeText": one("text")[:1_000],
            "actions": form.get("action", []),
            "parts": [_used(part) for part in form.get("part", [])],
            "personnel": one("by")[:64],
        } | ({"minutes": _minutes(one("minutes"))} if one("minutes") else {})
    return given


def _used(text: str) -> dict[str, Any]:
    number, _, quantity = text.rpartition("=")
    return {"materialId": number or text, "qty": float(quantity) if number else 1.0}


def _minutes(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise NotPossible(f"minutes: {text!r} is no number") from None
