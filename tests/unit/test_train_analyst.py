"""What the default model would learn from: true answers to the agent's own questions; and the file that comes out."""

import itertools
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from analyst.dialogues import NOTES, dialogues  # noqa: E402

from edge_agent.responding import choosing, prompt  # noqa: E402
from edge_agent.simulation.exam.sitting import SERIES  # noqa: E402
from tests.fakes.readers import read_choice  # noqa: E402
from tests.fakes.seeded_analyses import shipped_catalogue  # noqa: E402


def test_dialogues_ask_as_the_agent_asks_and_answer_as_a_reader_would() -> None:
    told = list(itertools.islice(dialogues(shipped_catalogue(), "t", notes=0.3), 24))
    assert {one.kind for one in told} == {"choice", "note"}
    for one in told:
        answer = json.loads(one.answer)
        if one.kind == "note":
            assert one.system == prompt.SYSTEM
            assert "{cause}" in answer["text"]
            continue
        assert one.system == choosing.SYSTEM
        assert answer["choice"] == json.loads(read_choice(one.prompt))["choice"]
    assert len({one.prompt for one in told}) == len(told)


def test_hostile_notes_stand_between_marks_and_do_not_change_the_answer() -> None:
    words = "|".join(re.escape(note.partition("{")[0][:12]) for note in NOTES)
    for one in itertools.islice(dialogues(shipped_catalogue(), "t", notes=0.0), 20):
        assert not re.search(words, re.sub(r"\[\[.*?\]\]", "", one.prompt))


def test_training_never_sees_the_exam() -> None:
    script = (SCRIPTS / "train_analyst.py").read_text("utf-8")
    assert SERIES not in script
    assert 'f"train-{options.seed}"' in script


@pytest.mark.slow
def test_the_adapter_is_a_file_that_says_what_it_fits(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (edge-agent[train])")
    torch = pytest.importorskip("torch", reason="torch is not installed (edge-agent[train])")
    from analyst.export import save

    adapted = SimpleNamespace(a=torch.ones(2, 6), b=torch.zeros(4, 2))
    network = SimpleNamespace(adapters=lambda: {"blk.0.attn_q.weight": adapted})
    path = tmp_path / "adapter.gguf"
    save(network, path, name="x", alpha=16.0, base_sha256="5" * 64, licence="apache-2.0")
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.type"].contents() == "adapter"
    assert reader.fields["adapter.type"].contents() == "lora"
    assert reader.fields["edge_agent.base_sha256"].contents() == "5" * 64
    shapes = {one.name: [int(n) for n in one.shape] for one in reader.tensors}
    assert shapes == {"blk.0.attn_q.weight.lora_a": [6, 2], "blk.0.attn_q.weight.lora_b": [2, 4]}
