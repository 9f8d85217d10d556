"""The fleet's page: yield by line, defects, open orders, boxes and what is missing. It only reads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

from edge_agent import __version__
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.web.app import HEADERS

_HERE = Path(__file__).parent
LONGEST_DAYS = 366


def build_fleet_app(look: Callable[[int], Mapping[str, Any]], place: str) -> FastAPI:
    """The application.

    Args:
        look: what there is in so many days: ``lines``, ``pareto``, ``orders``, ``gaps`` (rows) and ``boxes``.
        place: the database, named on the page.
    """
    app = FastAPI(title="edge-agent fleet", docs_url=None, redoc_url=None, openapi_url=None)
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    pages.globals.update(version=__version__, place=place)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def page(template: str, days: int) -> Response:
        days = min(max(days, 1), LONGEST_DAYS)
        try:
            found: Mapping[str, Any] = {"problem": "", **look(days)}
        except (Transient, ConfigError) as error:
            found = {"problem": str(error)}
        body = pages.get_template(template).render(days=days, **found)
        status = 503 if found["problem"] else 200
        return HTMLResponse(body, status_code=status, headers={**HEADERS, "Cache-Control": "no-store"})

    @app.get("/")
    def overview(days: int = 1) -> Response:
        return page("fleet/overview.html", days)

    @app.get("/live")
    def overview_live(days: int = 1) -> Response:
        return page("fleet/overview_live.html", days)

    return app
