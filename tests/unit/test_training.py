"""The training tool: what is encoded can be decoded, and what is turned is still where it was."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install edge-agent[train])")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from training.data import Sample, crops, deeppcb, rendered  # noqa: E402
from training.loss import giou, loss, targets  # noqa: E402
from training.network import BOX_UNIT_PX, GoldenPair, compare, decode  # noqa: E402
from training.train import Stream, rate_at, source  # noqa: E402

from edge_agent.simulation.boards import layout  # noqa: E402

BOXES = torch.tensor([[1.0, 40, 40, 70, 90], [5.0, 200, 100, 226, 128], [0.0, 280, 300, 320, 320]])


def test_decoding_undoes_encoding() -> None:
    heat, distance, _ = targets([BOXES], 6, 40, 40)
    found = decode(torch.logit(heat.clamp(1e-4, 1 - 1e-4)), torch.log(distance / BOX_UNIT_PX))[0]
    best = found[: len(BOXES)]
    assert (best[:, 4] > 0.99).all()
    assert found[len(BOXES), 4] < 0.01
    order = best[:, 0].argsort()
    assert torch.allclose(best[order][:, [5, 0, 1, 2, 3]], BOXES, atol=0.1)


def test_the_loss_is_small_for_the_truth_and_large_for_silence() -> None:
    heat, distance, weight = targets([BOXES], 6, 40, 40)
    right = loss(torch.logit(heat.clamp(1e-4, 1 - 1e-4)), torch.log(distance / BOX_UNIT_PX), heat, distance, weight)
    silent = loss(torch.full_like(heat, -4.0), torch.zeros_like(distance), heat, distance, weight)
    assert right[1] < 1e-4
    assert right[0] < silent[0] / 2
    assert silent[1] > 0.1


def test_an_image_without_boxes_has_a_loss() -> None:
    heat, distance, weight = targets([torch.zeros(0, 5)], 6, 40, 40)
    logits = torch.full_like(heat, -4.0)
    assert all(torch.isfinite(one) for one in loss(logits, torch.zeros_like(distance), heat, distance, weight))


def test_giou() -> None:
    box = torch.tensor([[5.0, 5, 5, 5]])
    assert giou(box, box).item() == pytest.approx(1.0)
    assert giou(box, torch.tensor([[5.0, 5, 15, 5]])).item() == pytest.approx(0.5)


def test_light_vanishes_and_what_differs_stays() -> None:
    golden = torch.full((1, 1, 64, 64), 230.0)
    golden[..., 20:40, :] = 20
    image = golden.clone()
    image[..., 50:58, 30:38] = 20
    channels = compare(image * 0.7 + 30, golden)
    extra, missing = channels[0, 2], channels[0, 3]
    assert extra[54, 34] > 1
    assert extra[:48].max() < 0.3
    assert missing.max() < 0.3


def test_crops_keep_boxes_on_their_pixels() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((640, 640), np.uint8)
    image[300:340, 350:370] = 200
    sample = Sample(image=image, golden=image, boxes=np.array([[2, 350, 300, 370, 340]], np.float32))
    seen = 0
    for crop in crops(sample, 320, rng, 60):
        for code, x0, y0, x1, y1 in crop.boxes.astype(int).tolist():
            seen += 1
            assert code == 2
            assert (crop.image[y0:y1, x0:x1] == 200).all()
            assert (crop.image == 200).sum() == (x1 - x0) * (y1 - y0)
    assert seen > 10


def test_a_rendered_sample_has_its_boxes_inside() -> None:
    sample = rendered(layout("train-0"), np.random.default_rng(1), 10)
    assert sample.image.shape == sample.golden.shape == (640, 640)
    assert len(sample.boxes) >= 8
    assert (sample.boxes[:, 1:] >= 0).all()
    assert (sample.boxes[:, 1:] <= 640).all()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first = next(iter(Stream(source("board", None), 1, 7, 8)))
    again = next(iter(Stream(source("board", None), 1, 7, 8)))
    other = next(iter(Stream(source("board", None), 1, 8, 9)))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_rate_rises_and_falls() -> None:
    rates = [rate_at(step, 1000, 1.0) for step in (0, 99, 100, 550, 999)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] == rates[2] == pytest.approx(1.0)
    assert 0.4 < rates[3] < 0.6
    assert rates[4] < 0.02


def test_the_network_is_fully_convolutional() -> None:
    network = GoldenPair(6).eval()
    with torch.no_grad():
        logits, sides = network(torch.zeros(1, 1, 96, 128), torch.zeros(1, 1, 96, 128))
    assert logits.shape == (1, 6, 12, 16)
    assert sides.shape == (1, 4, 12, 16)


def test_groups_are_read_with_their_labels(tmp_path: Path) -> None:
    (tmp_path / "group1" / "1").mkdir(parents=True)
    (tmp_path / "group1" / "1" / "10_test.jpg").write_bytes(b"")
    [pair] = deeppcb(tmp_path, ["group1"])
    assert pair.golden.name == "10_temp.jpg"
    assert pair.labels == tmp_path / "group1" / "1_not" / "10.txt"
