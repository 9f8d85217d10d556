"""The real printer: complete files with the record inside, the same bytes again, and nothing read that is not ours."""

import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.adapters.documents.glyphs import undrawable
from edge_agent.adapters.documents.weasy import WeasyPrinter, default_templates
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import PrintJob
from tests.fakes.clock import FakeClock
from tests.unit.test_documents import Line

try:
    import weasyprint  # noqa: F401
except OSError as error:
    pytest.skip(f"WeasyPrint's system libraries are missing: {error}", allow_module_level=True)

pypdf = pytest.importorskip("pypdf")
pytestmark = pytest.mark.integration

TIMEOUT_S = 120


@pytest.fixture(scope="module")
def printer() -> Iterator[WeasyPrinter]:
    made = WeasyPrinter(default_templates(), clock=FakeClock())
    yield made
    made.close()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    made = Line(tmp_path_factory.mktemp("state"))
    yield made
    made.store.close()


def _text(body: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(body)).pages)


def test_sheet_is_two_pages_of_pdf_a_with_its_record(printer: WeasyPrinter, line: Line, tmp_path: Path) -> None:
    job = line.sheet()
    printer.print(job, tmp_path / "wo.pdf", TIMEOUT_S)
    body = (tmp_path / "wo.pdf").read_bytes()
    reader = pypdf.PdfReader(io.BytesIO(body))
    assert len(reader.pages) == 2
    about = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    assert re.search(r"pdfaid:part\W*3", about)
    assert re.search(r"pdfaid:conformance\W*A", about)
    assert reader.trailer["/Root"]["/OutputIntents"]
    assert reader.trailer["/Root"]["/AF"][0].get_object()["/AFRelationship"] == "/Source"
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert reader.trailer["/Root"]["/Lang"] == "en"
    record = json.loads(reader.attachments["WO-0007-r2.json"][0])
    assert record["order"]["number"] == "WO-0007"
    text = _text(body)
    assert "WO-0007" in text
    assert "Clogged or turned etch nozzle" in text
    images = {image.name for page in reader.pages for image in page.images}
    assert len(images) >= 4


def _figures(node: object) -> Iterator[Mapping[str, str]]:
    """Every figure of a PDF's structure tree."""
    found = node.get_object() if hasattr(node, "get_object") else node
    if isinstance(found, list):
        for one in found:
            yield from _figures(one)
    elif isinstance(found, dict):
        if found.get("/S") == "/Figure":
            yield found
        yield from _figures(found.get("/K"))


def test_charts_and_photos_can_be_read_out(printer: WeasyPrinter, line: Line, tmp_path: Path) -> None:
    for job, told in ((line.sheet(), "Share of parts with open circuit"), (line.shift(), "Defects by class")):
        printer.print(job, tmp_path / "read.pdf", TIMEOUT_S)
        reader = pypdf.PdfReader(tmp_path / "read.pdf")
        said = [figure.get("/Alt", "") for figure in _figures(reader.trailer["/Root"]["/StructTreeRoot"])]
        assert len(said) >= 3
        assert all(said)
        assert any(told.lower() in one.lower() and re.search(r"\d", one) for one in said), said


def test_characters_without_a_font_are_told_once(printer: WeasyPrinter, line: Line, tmp_path: Path) -> None:
    strange = next((one for one in map(chr, range(0x10000, 0x20000)) if undrawable(one)), "")
    if not strange:
        pytest.skip("fontconfig is missing, or this machine's fonts have everything")
    order = line.history.order
    job = line.sheet(replace(order, problem=f"{order.problem} {strange}"))
    with capture_logs() as logs:
        for _ in range(2):
            printer.print(job, tmp_path / "wo.pdf", TIMEOUT_S)
    told = [one for one in logs if one["event"].startswith("no installed font")]
    assert [one["characters"] for one in told] == [strange]


def test_shift_report_prints(printer: WeasyPrinter, line: Line, tmp_path: Path) -> None:
    printer.print(line.shift(), tmp_path / "deep" / "shift.pdf", TIMEOUT_S)
    text = _text((tmp_path / "deep" / "shift.pdf").read_bytes())
    assert "First pass yield" in text
    assert "focus ratio 0.41" in text


def test_the_same_document_has_the_same_bytes(printer: WeasyPrinter, line: Line, tmp_path: Path) -> None:
    job = line.sheet()
    for name in ("a.pdf", "b.pdf"):
        printer.print(job, tmp_path / name, TIMEOUT_S)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_a_document_reads_only_what_its_job_names(printer: WeasyPrinter, tmp_path: Path) -> None:
    """A template (or markup that slipped through) that asks for another file gets nothing."""
    secret = tmp_path / "secret.svg"
    secret.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text y="8">hush</text></svg>')
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "leak.html").write_text(
        f'<p>shown</p><img src="{secret.as_uri()}"><img src="../secret.svg"><img src="http://127.0.0.1:9/x.png">'
        '<link rel="attachment" href="../secret.svg">'
    )
    leaky = WeasyPrinter(templates, clock=FakeClock())
    try:
        leaky.print(PrintJob(template="leak.html", data={"files": []}), tmp_path / "leak.pdf", TIMEOUT_S)
        refused = (tmp_path / "leak.pdf").read_bytes()
        leaky.print(PrintJob(template="leak.html", data={"files": [str(secret)]}), tmp_path / "ok.pdf", TIMEOUT_S)
    finally:
        leaky.close()
    assert "hush" not in _text(refused)
    assert not pypdf.PdfReader(io.BytesIO(refused)).attachments
    assert "hush" in _text((tmp_path / "ok.pdf").read_bytes())


def test_long_and_wide_content_stays_on_the_paper(printer: WeasyPrinter, line: Line, tmp_path: Path) -> None:
    order = line.history.order
    long = replace(
        order,
        problem="Opens " * 60,
        equipment="E" * 90,
        text="word " * 200,
        note="x" * 400,
        containment=replace(order.containment, part_ids=tuple(f"{n:040d}" for n in range(300))),
    )
    printer.print(line.sheet(long), tmp_path / "long.pdf", TIMEOUT_S)
    reader = pypdf.PdfReader(tmp_path / "long.pdf")
    assert len(reader.pages) <= 4
    starts: list[float] = []

    def note(text: str, cm: list[float], tm: list[float], *_: object) -> None:
        if text.strip():
            starts.append(tm[4] * cm[0] + tm[5] * cm[2] + cm[4])

    for page in reader.pages:
        page.extract_text(visitor_text=note)
    assert max(starts) < 595 - 13 * 72 / 25.4, "text starts outside the right margin"


def test_too_slow_is_transient_and_leaves_nothing(line: Line, tmp_path: Path) -> None:
    slow = WeasyPrinter(default_templates(), clock=FakeClock())
    try:
        with pytest.raises(Transient, match="deadline"):
            slow.print(line.sheet(), tmp_path / "never.pdf", 0.05)
    finally:
        slow.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_printer_prints_again(line: Line, tmp_path: Path) -> None:
    """A worker that is restarted closes the printer it hands to the next one."""
    reopened = WeasyPrinter(default_templates(), clock=FakeClock())
    try:
        for name in ("a.pdf", "b.pdf"):
            reopened.print(line.shift(), tmp_path / name, TIMEOUT_S)
            reopened.close()
            reopened.close()
    finally:
        reopened.close()
    assert (tmp_path / "b.pdf").is_file()


def test_a_broken_template_says_so_and_the_printer_lives_on(line: Line, tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    shutil.copytree(default_templates(), templates)
    (templates / "broken.html").write_text("{% if %}")
    mended = WeasyPrinter(templates, clock=FakeClock())
    try:
        with pytest.raises(ConfigError, match=r"broken\.html"):
            mended.print(PrintJob(template="broken.html", data={}), tmp_path / "x.pdf", TIMEOUT_S)
        mended.print(line.sheet(), tmp_path / "wo.pdf", TIMEOUT_S)
    finally:
        mended.close()
    assert (tmp_path / "wo.pdf").stat().st_size > 10_000
