"""The operator pages: what they say, what they refuse, and that hostile text stays text."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter

from edge_agent.domain.document import Document
from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Disposition, Evaluation
from edge_agent.domain.promotion import Promotion
from edge_agent.inspecting.promoting import promote
from edge_agent.web.app import ago, build_app
from edge_agent.web.status import Status
from tests.fakes.clock import START
from tests.fakes.made import LIVE, SHADOW, a_shadow_look
from tests.unit.test_documents import LETTERHEAD, Line

NASTY = "\"><script>alert('x')</script><img src=x onerror=alert(1)>"
PAGES = ("/", "/live/line", "/live/status", "/live/health", "/parts", "/orders", "/documents", "/health")


def status(**changes: Any) -> Status:
    component = {"component": "camera", "condition": "ok", "detail": "", "since": "2026-11-20T09:59:20+00:00"}
    return {"alive": True, "ready": True, "components": [component], "models": []} | changes  # type: ignore[return-value]


class Site:
    """The pages over a line's history."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.status = status()
        self.registry = CollectorRegistry()
        self.app = build_app(
            store=line.store,
            images=line.images,
            images_dir=line.state / "images",
            documents_dir=line.state / "documents",
            status=lambda: self.status,
            clock=line.clock,
            letterhead=LETTERHEAD,
            catalogue=line.history.catalogue,
            registry=self.registry,
        )
        self.client = TestClient(self.app)

    def get(self, path: str, code: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == code, f"{path}: {answer.status_code}\n{answer.text[:500]}"
        return answer.text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    line = Line(tmp_path_factory.mktemp("state"))
    yield Site(line)
    line.store.close()


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    line = Line(tmp_path)
    yield Site(line)
    line.store.close()


@pytest.fixture
def empty_site(tmp_path: Path) -> Iterator[Site]:
    line = Line(tmp_path, empty=True)
    yield Site(line)
    line.store.close()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_with_its_guards(path: str, site: Site) -> None:
    answer = site.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_on_an_empty_store(path: str, empty_site: Site) -> None:
    empty_site.get(path)


def _pages_of_everything(site: Site) -> Iterator[str]:
    yield from PAGES
    yield f"/orders/{site.line.history.order.order_id}"
    for seen in site.line.history.inspections:
        if seen.images or seen.evaluation is not Evaluation.OK:
            yield f"/parts/{seen.inspection_id}"


def test_no_page_needs_what_its_policy_forbids(site: Site) -> None:
    for path in _pages_of_everything(site):
        page = site.get(path)
        assert not re.search(r"<style|\sstyle=|<script(?! src=\"/static/)|\son\w+=|javascript:", page), path
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page), f"{path} refers to another host"


def test_links_lead_somewhere(site: Site) -> None:
    order = site.line.history.order.order_id
    part = next(seen for seen in site.line.history.inspections if seen.images).inspection_id
    links = {
        link
        for path in (*PAGES, f"/orders/{order}", f"/parts/{part}")
        for link in re.findall(r'(?:href|src)="(/[^"#]*)', site.get(path))
    }
    assert len(links) > 50
    for link in links:
        site.get(link)


def test_line_page_shows_the_last_parts_and_what_is_open(site: Site) -> None:
    page = site.get("/")
    assert "89.4" in page
    assert "PNL-12359" in page
    assert "WO-0007" in page
    assert "change began" in page


def test_line_page_says_when_nothing_has_come(empty_site: Site) -> None:
    assert "No part has been inspected yet" in empty_site.get("/")


def test_line_page_says_when_the_line_stands(own_site: Site) -> None:
    assert "The line may be standing" not in own_site.get("/")
    own_site.line.clock.advance(minutes=10)
    assert "The line may be standing" in own_site.get("/")


def test_parts_can_be_filtered_and_searched(site: Site) -> None:
    held = site.get("/parts?evaluation=NOT_INSPECTED")
    assert held.count("no frame from camera") == 4
    one = site.get("/parts?q=pnl-12331")
    assert "PNL-12331" in one
    assert "PNL-12330" not in one
    assert "No part among" in site.get("/parts?q=nothing-like-it")
    assert "PNL-12359" in site.get("/parts?evaluation=WHATEVER"), "an unknown word filters nothing"


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        (Evaluation.NOT_INSPECTED, "That is not the same as no defect"),
        (Evaluation.NOT_DECIDABLE, "the picture was not fit to be judged"),
    ],
)
def test_not_inspected_never_looks_like_no_defect(evaluation: Evaluation, words: str, site: Site) -> None:
    seen = next(part for part in site.line.history.inspections if part.evaluation is evaluation)
    page = site.get(f"/parts/{seen.inspection_id}")
    assert words in page
    assert "No defect." not in page
    assert 'class="disp d-HOLD"' in page


def test_part_page_shows_boxes_golden_and_origin(site: Site) -> None:
    seen = next(part for part in site.line.history.inspections if part.images)
    page = site.get(f"/parts/{seen.inspection_id}")
    assert page.count("<image") == 2
    assert "Golden sample" in page
    assert seen.defects[0].code.replace("open", "open circuit") in page
    assert "inner-layer-a v3" in page
    assert str(seen.inspection_id) in page


def test_order_page_shows_for_and_against_and_the_answers(site: Site) -> None:
    page = site.get(f"/orders/{site.line.history.order.order_id}")
    for words in ("Clogged or turned etch nozzle", "likely", "Nothing measured speaks for it", "could also be", "E6"):
        assert words in page
    assert page.count("<details") == 6 + 1, "six facts, and a fold around those that no suspect cites"
    assert all(f'id="E{number}"' in page for number in range(1, 7))
    assert "accepted</b> by mes" in page
    assert "not qualified" in page
    assert "no PDF yet" in page


def test_order_page_links_the_newest_sheet(own_site: Site) -> None:
    order, clock = own_site.line.history.order, own_site.line.clock
    folder = own_site.line.state / "documents" / "work-order"
    folder.mkdir(parents=True)
    (folder / "WO 7 r2.pdf").write_bytes(b"%PDF-1.7")
    document = Document(
        document_id=clock.new_id(),
        kind="work-order",
        title="WO-0007",
        path="work-order/WO 7 r2.pdf",
        sha256="0" * 64,
        size_bytes=8,
        made_at=clock.now(),
        subject_id=order.order_id,
        revision=2,
    )
    with own_site.line.store.unit() as uow:
        uow.documents.add(document)
        uow.commit()
    page = own_site.get(f"/orders/{order.order_id}")
    assert 'href="/documents/work-order/WO%207%20r2.pdf"' in page
    answer = own_site.client.get("/documents/work-order/WO%207%20r2.pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert "WO-0007" in own_site.get("/documents")


def test_hostile_text_stays_text(own_site: Site) -> None:
    history, clock = own_site.line.history, own_site.line.clock
    seen = next(part for part in history.inspections if part.images)
    at = clock.now()
    evil = replace(
        seen,
        inspection_id=clock.new_id(),
        shot=replace(
            seen.shot, shot_id=clock.new_id(), part_id=NASTY, lot_id=NASTY, product_id=NASTY, station_id=NASTY
        ),
        reasons=tuple(replace(reason, text=NASTY, code=NASTY) for reason in seen.reasons),
        defects=tuple(replace(defect, code=NASTY) for defect in seen.defects),
        started_at=at,
        ended_at=at,
    )
    order = replace(history.order, problem=NASTY, note=NASTY, text=NASTY, equipment=NASTY, revision=3)
    with own_site.line.store.unit() as uow:
        uow.inspections.add(evil)
        uow.orders.save(order)
        uow.commit()
    own_site.status = status(
        ready=False, components=[{"component": NASTY, "condition": NASTY, "detail": NASTY, "since": NASTY}]
    )
    for path in (*PAGES, f"/parts/{evil.inspection_id}", f"/orders/{order.order_id}", f"/parts?q={NASTY}"):
        page = own_site.get(path)
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path


@pytest.mark.parametrize(
    "path",
    [
        "/images/../a.db",
        "/images/%2e%2e/secret.jpg",
        "/images/..%2fsecret.jpg",
        "/images//etc/passwd",
        "/images/link.jpg",
        "/images/.hidden.jpg",
        "/images/.tmp/x.jpg",
        "/images/notes.txt",
        "/images/%00.jpg",
        "/images/",
        "/documents/../images/a.jpg",
        "/documents/x.html",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_files_outside_or_of_another_kind_are_not_found(path: str, own_site: Site) -> None:
    state = own_site.line.state
    (state / "secret.jpg").write_bytes(b"secret")
    (state / "images" / "link.jpg").symlink_to(state / "secret.jpg")
    (state / "images" / "notes.txt").write_text("secret")
    (state / "images" / ".hidden.jpg").write_bytes(b"secret")
    assert "secret" not in own_site.get(path, 404)


def test_pictures_are_served_as_what_they_are(site: Site) -> None:
    seen = next(part for part in site.line.history.inspections if part.images)
    answer = site.client.get(f"/images/{seen.images[0].path}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/parts/not-a-uuid", "/orders/00000000-0000-7000-8000-000000000000", "/docs", "/openapi.json"]
)
def test_what_is_not_there_is_a_page_that_says_so(path: str, site: Site) -> None:
    page = site.get(path, 404)
    assert "There is nothing here." in page
    assert "traceback" not in page.lower()


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_pages_change_nothing(method: str, site: Site) -> None:
    for path in ("/", "/parts", f"/orders/{site.line.history.order.order_id}", "/documents/a.pdf"):
        assert getattr(site.client, method)(path).status_code == 405


def test_probes_follow_the_status(own_site: Site) -> None:
    assert own_site.client.get("/healthz").json() == {"alive": True}
    assert own_site.client.get("/readyz").json()["components"] == {"camera": "ok"}
    own_site.status = status(ready=False)
    own_site.get("/readyz", 503)
    own_site.get("/healthz")
    own_site.status = status(alive=False)
    own_site.get("/healthz", 503)
    page = own_site.get("/health")
    assert "Stuck" in page
    assert "2026-11-20 10:59 (60 min ago)" in page


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (status(), "ready"),
        (status(ready=False), "not ready"),
        (status(components=[{"component": "broker", "condition": "down", "detail": "", "since": ""}]), "1 in trouble"),
    ],
)
def test_the_head_of_every_page_says_how_the_box_is(now: Status, words: str, own_site: Site) -> None:
    own_site.status = now
    assert words in own_site.get("/live/status")
    assert words in own_site.get("/orders")


def test_metrics_are_those_of_the_registry(own_site: Site) -> None:
    Counter("edge_agent_test_things", "Things", registry=own_site.registry).inc(3)
    answer = own_site.client.get("/metrics")
    assert "edge_agent_test_things_total 3.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_store_that_is_away_is_said_and_not_a_crash(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise Transient("database is locked")

    monkeypatch.setattr(own_site.line.store, "reader", away)
    assert "database is locked" in own_site.get("/", 503)
    own_site.get("/healthz")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (40, "40 s ago"),
        (300, "5 min ago"),
        (3 * 3600, "3 h ago"),
        (5 * 86400, "5 d ago"),
        (-7200, "in 2 h"),
    ],
)
def test_ago(seconds: float, words: str) -> None:
    assert ago(START, START - timedelta(seconds=seconds)) == words


def test_dispositions_and_evaluations_all_have_words_and_signs() -> None:
    from edge_agent.web.views import MARKS, WORDS

    assert set(WORDS) == set(MARKS) == set(Evaluation)
    css = (Path(__file__).parents[2] / "edge_agent/web/static/site.css").read_text()
    assert all(f".e-{word}" in css for word in Evaluation)
    assert all(f".d-{word}" in css for word in Disposition)


def test_no_telemetry_whatever_the_environment_says(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to export, FastAPI without the exporter refuses to start; ours is not moved to try."""
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with TestClient(Site(own_site.line).app) as client:
        assert client.get("/healthz").status_code == 200


def test_the_rate_is_judged_against_the_time_before_the_incident(site: Site) -> None:
    """A mean over good and bad times together would hide the incident behind its own limit."""
    page = site.get("/")
    drawn = page[page.index("<h2>Rejected share") : page.index("<h2>Defects by class")]
    assert ">normal<" in drawn
    assert ">change began<" in drawn
    assert drawn.count('class="c-dot-bad"') >= 3


def test_the_health_page_shows_the_models_of_each_station(own_site: Site) -> None:
    with own_site.line.store.unit() as unit:
        for shadow in (Evaluation.OK, Evaluation.OK, Evaluation.NOT_OK):
            unit.shadow_looks.add(a_shadow_look(own_site.line.clock, shadow=shadow))
        promoted = Promotion(
            word="board", model=LIVE, earlier=SHADOW, by="terminal:anna", why=NASTY, at=own_site.line.clock.now()
        )
        promote(unit, "aoi-1", promoted, figures="-")
        unit.commit()
    own_site.status = status(models=[{"station": "aoi-1", "live": "board/2", "shadow": SHADOW, "missed": 7}])
    page = own_site.get("/live/health")
    assert "board/3</td>" in page
    assert "2 of 3" in page
    assert ">7<" in page
    assert "board: board/3 -&gt; board/2, terminal:anna: " in page
    assert NASTY not in page
    own_site.status = status(models=[{"station": "aoi-2", "live": "board/2", "shadow": None, "missed": 0}])
    assert "aoi-2" in own_site.get("/health")
