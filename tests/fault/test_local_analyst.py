"""A language model that crashes, hangs or fails never takes the agent along, and is not tried for ever."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.adapters.analysts.local import Backend, LocalAnalyst
from edge_agent.config.plant import LocalAnalystOptions
from edge_agent.domain.faults import Transient
from edge_agent.ports import WritingTask
from tests.fakes.clock import FakeClock
from tests.fakes.gguf import instruct_model

pytestmark = pytest.mark.fault

LONG_S = 30.0
TASK = WritingTask(system="s", prompt="p", schema={})


def backend(name: str) -> Backend:
    return Backend(distribution="pytest", target=f"tests.fakes.analysts:{name}")


FAIR, CRASHING, SILENT = (backend(name) for name in ("FairBackend", "CrashingBackend", "SilentBackend"))
ABSENT = Backend(distribution="no-such-distribution", target="nowhere:Nothing")


class Desk:
    """Makes analysts that share a state folder, as restarts of the agent do."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self._folder = folder
        self._options = LocalAnalystOptions(kind="local", model=instruct_model(folder / "m.gguf"))
        self._made: list[LocalAnalyst] = []

    def analyst(self, backends: Mapping[str, Backend]) -> LocalAnalyst:
        made = LocalAnalyst(self._options, clock=self.clock, state_dir=self._folder, backends=backends)
        self._made.append(made)
        return made

    def close(self) -> None:
        for made in self._made:
            made.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def _closed(desk: Desk) -> object:
    yield
    desk.close()


def test_the_first_installed_backend_writes(desk: Desk) -> None:
    analyst = desk.analyst({"a": ABSENT, "b": FAIR})
    written = analyst.write(TASK, LONG_S)
    assert (written.text, written.model_name) == ('{"a":"b"}', "Tiny Instruct")
    assert len(written.model_sha256) == 64
    assert analyst.name == "b m.gguf"


def test_a_crash_in_the_canary_falls_through_to_the_next_backend(desk: Desk) -> None:
    assert desk.analyst({"a": CRASHING, "b": FAIR}).write(TASK, LONG_S).text


def test_with_nothing_left_it_is_disabled_loudly_once(desk: Desk) -> None:
    analyst = desk.analyst({"a": CRASHING})
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(Transient, match="SIGSEGV"):
                analyst.write(TASK, LONG_S)
            desk.clock.advance(120)
    assert [line["log_level"] for line in logs if "disabled" in line["event"]] == ["error"]


def test_a_crash_is_remembered_over_a_restart_and_a_pass_too(desk: Desk) -> None:
    with pytest.raises(Transient):
        desk.analyst({"a": CRASHING}).write(TASK, LONG_S)
    with pytest.raises(Transient, match="crashed here, and is not tried again"):
        desk.analyst({"a": FAIR}).write(TASK, LONG_S)  # the same build by name: not tried again
    assert desk.analyst({"b": FAIR}).write(TASK, LONG_S).text
    assert desk.analyst({"b": SILENT}).write(TASK, LONG_S).text == ""  # passed before: no second canary


def test_a_lost_memory_costs_one_more_trial(desk: Desk, tmp_path: Path) -> None:
    desk.analyst({"b": FAIR}).write(TASK, LONG_S)
    (tmp_path / "language_model.json").write_text("{not json")
    assert desk.analyst({"b": FAIR}).write(TASK, LONG_S).text


def test_a_backend_that_writes_nothing_does_not_pass(desk: Desk) -> None:
    with pytest.raises(Transient, match="wrote nothing"):
        desk.analyst({"a": SILENT}).write(TASK, LONG_S)


def test_no_backend_at_all(desk: Desk) -> None:
    with pytest.raises(Transient, match="no back end is installed"):
        desk.analyst({"a": ABSENT}).write(TASK, LONG_S)


def test_a_failed_search_rests_before_the_next(desk: Desk) -> None:
    analyst = desk.analyst({"a": ABSENT})
    with pytest.raises(Transient, match="no language model: "):
        analyst.write(TASK, LONG_S)
    analyst._backends = {"a": FAIR}
    with pytest.raises(Transient, match="no language model: "):
        analyst.write(TASK, LONG_S)
    desk.clock.advance(61)
    assert analyst.write(TASK, LONG_S).text


def test_a_missing_model_is_no_reason_to_stop(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").unlink()
    with pytest.raises(Transient, match="scripts/fetch_llm"):
        desk.analyst({"a": FAIR}).write(TASK, LONG_S)


@pytest.mark.parametrize(("prompt", "reason"), [("hang", "deadline"), ("bug", "KeyError")])
def test_trouble_while_writing_is_transient_and_the_next_call_works(desk: Desk, prompt: str, reason: str) -> None:
    analyst = desk.analyst({"a": FAIR})
    analyst.write(TASK, LONG_S)
    with pytest.raises(Transient, match=reason):
        analyst.write(replace(TASK, prompt=prompt), 1.0)
    assert analyst.write(TASK, LONG_S).text


def test_a_build_that_keeps_crashing_is_given_up(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.runtime.children._REST_FIRST_S", 0.0)
    analyst = desk.analyst({"a": FAIR})
    for _ in range(3):
        with pytest.raises(Transient, match="SIGSEGV"):
            analyst.write(replace(TASK, prompt="crash"), LONG_S)
    with pytest.raises(Transient, match="crashed here, and is not tried again"):
        analyst.write(TASK, LONG_S)


def test_closed_is_closed(desk: Desk) -> None:
    analyst = desk.analyst({"a": FAIR})
    analyst.write(TASK, LONG_S)
    analyst.close()
    analyst.close()
    with pytest.raises(Transient, match="closed"):
        analyst.write(TASK, LONG_S)


def test_a_picture_goes_into_the_child_with_the_models_eyes(tmp_path: Path) -> None:
    eyes = tmp_path / "mmproj.gguf"
    eyes.write_bytes(b"eyes")
    options = LocalAnalystOptions(kind="local", model=instruct_model(tmp_path / "m.gguf"))
    analyst = LocalAnalyst(
        options, clock=FakeClock(), state_dir=tmp_path, backends={"seeing": backend("SeeingBackend")}, projector=eyes
    )
    try:
        written = analyst.write(replace(TASK, image=bytes(70_000)), LONG_S)
    finally:
        analyst.close()
    assert written.text == "70000 bytes through mmproj.gguf"
