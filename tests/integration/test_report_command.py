"""``edge-agent report``: from a state folder to a PDF, and clear words when there is nothing to print."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli import build
from edge_agent.domain.faults import ConfigError
from edge_agent.responding.documents.house import note_house
from tests.unit.test_documents import LETTERHEAD, Line

try:
    import weasyprint  # noqa: F401
except OSError as error:
    pytest.skip(f"WeasyPrint's system libraries are missing: {error}", allow_module_level=True)

pypdf = pytest.importorskip("pypdf")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    line = Line(tmp_path_factory.mktemp("state"))
    with line.store.unit() as uow:
        note_house(uow, LETTERHEAD, line.history.catalogue, shift_ends=["06:00", "14:00", "22:00"])
        uow.commit()
    yield line.state
    line.store.close()


def report(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    result = CliRunner().invoke(build("report"), ["report", *words])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def _text(path: str) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(Path(path).read_bytes())).pages)


def test_the_last_order(state: Path, tmp_path: Path) -> None:
    code, out, _ = report("work-order", "--last", "--state", str(state), "--out", str(tmp_path))
    assert code == 0
    (path,) = out.splitlines()
    assert Path(path) == tmp_path / "WO-0007-r2.pdf"
    text = _text(path)
    assert "acme / nord / pcb / L2" in text
    assert "Scratches from handling" in text, "the causes to tick come from what the daemon noted"


def test_the_last_shift_and_a_period(state: Path, tmp_path: Path) -> None:
    code, out, words = report("shift", "--last", "--state", str(state), "--out", str(tmp_path))
    assert code == 0
    assert "period: 2026-11-20" in words
    assert "360" in _text(out.strip())
    period = ("--from", "2026-11-20T10:30+00:00", "--to", "2026-11-20T10:45+00:00")
    code, out, _ = report("shift", *period, "--state", str(state), "--out", str(tmp_path))
    assert code == 0
    assert "2026-11-20T1030Z--2026-11-20T1045Z.pdf" in out
    assert "100" in _text(out.strip())


def test_orders_of_a_period(state: Path, tmp_path: Path) -> None:
    inside = ("--from", "2026-11-20T00:00", "--to", "2026-11-21T00:00")
    assert report("work-order", *inside, "--state", str(state), "--out", str(tmp_path))[0] == 0
    before = ("--from", "2026-11-18T00:00", "--to", "2026-11-19T00:00")
    code, out, words = report("work-order", *before, "--state", str(state), "--out", str(tmp_path))
    assert (code, out) == (1, "")
    assert "no order found" in words


def test_no_store_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no store"):
        report("shift", "--last", "--state", str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [("shift",), ("shift", "--from", "2026-11-20"), ("shift", "--last", "--to", "2026-11-20"), ("memo", "--last")],
)
def test_wrong_usage(words: tuple[str, ...]) -> None:
    assert report(*words)[0] == 2


def test_a_time_that_is_none_is_said(state: Path) -> None:
    code, _, words = report("shift", "--from", "yesterday", "--to", "now", "--state", str(state))
    assert code == 2
    assert "yesterday" in words
