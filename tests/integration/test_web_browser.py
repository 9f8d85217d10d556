"""The pages in a real browser: both themes, two widths, live regions, toggles; no console error, nothing overflows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.web.server import WebServer
from tests.unit.test_documents import Line
from tests.unit.test_web import NASTY, Site, status

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip("no browser: apt package chromium is missing", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="Python package playwright is missing")


class Served:
    """A site, its server, and a browser."""

    def __init__(self, site: Site, server: WebServer, browser: Any) -> None:
        self.site, self.server, self.browser = site, server, browser
        history = site.line.history
        part = next(seen for seen in history.inspections if seen.images)
        self.pages = {
            "line": "/",
            "parts": "/parts",
            "part": f"/parts/{part.inspection_id}",
            "orders": "/orders",
            "order": f"/orders/{history.order.order_id}",
            "documents": "/documents",
            "health": "/health",
        }

    def open(self, path: str, *, theme: str = "light", width: int = 1280) -> Any:
        """A page with its console in ``page.complaints``."""
        page = self.browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        page.complaints = []
        page.on("console", lambda m: page.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(self.server.url + path)
        page.wait_for_load_state("networkidle")
        return page


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    line = Line(tmp_path_factory.mktemp("state"))
    site = Site(line)
    server = WebServer(site.app, "127.0.0.1", 0)
    server.setup()
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield Served(site, server, browser)
        browser.close()
    server.teardown()
    line.store.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_raise_no_complaint(served: Served, theme: str, width: int) -> None:
    for name, path in served.pages.items():
        page = served.open(path, theme=theme, width=width)
        spill = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert spill <= 0, f"{name} overflows by {spill} px"
        assert page.complaints == [], name
        page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(served: Served, theme: str) -> None:
    """WCAG 2 contrast of at least 4.5 for every piece of text on a plain ground."""
    for name in ("line", "order", "health"):
        page = served.open(served.pages[name], theme=theme)
        weak = page.evaluate(_CONTRAST)
        assert weak == [], f"{name} {theme}"
        page.close()


_CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
      if (colour[3] > 0) return null;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest('svg') || !node.getClientRects().length) continue;
    const under = ground(node);
    if (!under) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(under)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${node.tagName}.${node.className}: ${ratio.toFixed(2)}`);
  }
  return [...found];
}"""


def test_the_theme_switch_holds_over_pages(served: Served) -> None:
    page = served.open("/", theme="light")
    page.click("[data-theme-switch]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto(served.server.url + "/orders")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 21, 28)"
    page.close()


def test_boxes_and_golden_can_be_toggled(served: Served) -> None:
    page = served.open(served.pages["part"])
    mark, golden = page.locator(".of-part .mark").first, page.locator(".of-golden")
    assert mark.is_visible()
    page.click("label[for=view-boxes]")
    assert not mark.is_visible()
    page.click("label[for=view-part]")
    assert not golden.is_visible()
    page.click("label[for=view-golden]")
    assert golden.is_visible()
    assert not page.locator(".of-part").is_visible()
    page.close()


def test_evidence_opens(served: Served) -> None:
    page = served.open(served.pages["order"])
    row = page.locator("#E2 table")
    assert not row.is_visible()
    page.click("#E2 summary")
    page.wait_for_selector("#E2 table", state="visible", timeout=10_000)
    page.click(".fact a[href='#E1']")
    page.wait_for_selector("#E1 table", state="visible", timeout=10_000)  # a citation opens what it cites
    page.close()


def test_a_new_part_appears_without_a_reload(served: Served) -> None:
    page = served.open("/")
    page.evaluate("window.same = true")
    newest, clock = served.site.line.history.inspections[-1], served.site.line.clock
    at = clock.advance(1)
    fresh = replace(
        newest,
        inspection_id=clock.new_id(),
        shot=replace(newest.shot, shot_id=clock.new_id(), part_id="PNL-FRESH"),
        started_at=at,
        ended_at=at,
    )
    with served.site.line.store.unit() as uow:
        uow.inspections.add(fresh)
        uow.commit()
    page.wait_for_selector("text=PNL-FRESH", timeout=20_000)
    assert page.evaluate("window.same")
    page.close()


def test_hostile_text_runs_nothing(served: Served) -> None:
    served.site.status = status(components=[{"component": NASTY, "condition": "down", "detail": NASTY, "since": ""}])
    page = served.open("/health")
    page.on("dialog", lambda _: page.complaints.append("a dialog opened"))
    page.reload()
    assert page.locator("main img").count() == 0
    assert page.complaints == []
    served.site.status = status()
    page.close()


def test_a_box_that_is_gone_is_said(served: Served) -> None:
    server = WebServer(served.site.app, "127.0.0.1", 0)
    server.setup()
    page = served.browser.new_page()
    page.goto(server.url)
    assert page.locator("[data-contact]").inner_text() == "live"
    server.teardown()
    page.wait_for_selector("body.stale", timeout=30_000)
    assert "no contact" in page.locator("[data-contact]").inner_text()
    page.close()
