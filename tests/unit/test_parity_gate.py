"""The gate between an export and the models, on a real file that was tampered with."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (pip install edge-agent[train])")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install edge-agent[train])")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from training.data import Sample, rendered  # noqa: E402
from training.parity_gate import Refused, demand_parity  # noqa: E402

from edge_agent.simulation.boards import layout  # noqa: E402

MODEL = Path(__file__).resolve().parents[2] / "models" / "board" / "1"


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(5)
    return [rendered(layout("train-0"), rng, 8) for _ in range(2)]


def copied(folder: Path, model: bytes) -> Path:
    """The model's folder with another file; the card fits it, so that only the gate can object."""
    shutil.copytree(MODEL, folder)
    (folder / "model.onnx").write_bytes(model)
    card = json.loads((folder / "card.json").read_text())
    card |= {"sha256": hashlib.sha256(model).hexdigest(), "parity": False}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_an_equal_export_passes(tmp_path: Path, samples: list[Sample]) -> None:
    same = copied(tmp_path / "same", (MODEL / "model.onnx").read_bytes())
    compared = demand_parity(MODEL, same, samples)
    assert compared.map_lost == 0
    assert compared.map_reference > 0.5


def test_a_sabotaged_export_is_refused(tmp_path: Path, samples: list[Sample]) -> None:
    model = onnx.load(str(MODEL / "model.onnx"))
    heads = [node for node in model.graph.node if node.op_type == "Conv" and "/heat/" in node.name]
    assert len(heads) == 1
    weights = next(one for one in model.graph.initializer if one.name == heads[0].input[1])
    values = onnx.numpy_helper.to_array(weights)
    # Two classes exchanged: every box is still there, and none of theirs is right.
    weights.CopyFrom(onnx.numpy_helper.from_array(values[[1, 0, 2, 3, 4, 5]].copy(), weights.name))
    bad = copied(tmp_path / "bad", model.SerializeToString())
    with pytest.raises(Refused, match=r"export refused: mAP fell from .* average precision of (open|short) fell"):
        demand_parity(MODEL, bad, samples)
