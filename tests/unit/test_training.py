"""The training tool: what is encoded can be decoded, what is turned is where it was, a bad export is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install edge-agent[train])")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (pip install edge-agent[train])")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from training import augment, freehand  # noqa: E402
from training.augment import PAD_PX, Scene  # noqa: E402
from training.data import Sample, Source, deeppcb, draw_onto, rendered  # noqa: E402
from training.export import write_fp16, write_fp32  # noqa: E402
from training.loss import Targets, giou, loss, targets  # noqa: E402
from training.network import (  # noqa: E402
    BOX_UNIT_PX,
    GoldenPair,
    compare,
    decode,
    levels,
    levels_of_pair,
    normalise,
)
from training.parity_gate import Comparison, compare_answers  # noqa: E402
from training.report import page  # noqa: E402
from training.train import Stream, Trainer, collate, rate_at, source  # noqa: E402
from training.warm import load_packaged, module_name  # noqa: E402

from edge_agent.inspecting.accuracy import Found, Judged  # noqa: E402
from edge_agent.simulation.boards import CODES, layout  # noqa: E402

torch.set_num_threads(1)
BOXES = torch.tensor([[1.0, 40, 40, 70, 90], [5.0, 200, 100, 226, 128], [0.0, 280, 300, 320, 320]])
NONE = [torch.zeros(0, 4)]
EMPTY = np.zeros((0, 5), np.float32)


def logits_of(wanted: Targets) -> torch.Tensor:
    return torch.logit(wanted.heat.clamp(1e-4, 1 - 1e-4))


def test_decoding_undoes_encoding() -> None:
    wanted = targets([BOXES], NONE, 6, 40, 40)
    found = decode(logits_of(wanted), torch.log(wanted.distance / BOX_UNIT_PX))[0]
    best = found[: len(BOXES)]
    assert (best[:, 4] > 0.99).all()
    assert found[len(BOXES), 4] < 0.01
    order = best[:, 0].argsort()
    assert torch.allclose(best[order][:, [5, 0, 1, 2, 3]], BOXES, atol=0.1)


def test_the_loss_is_small_for_the_truth_and_large_for_silence() -> None:
    wanted = targets([BOXES], NONE, 6, 40, 40)
    right = loss(logits_of(wanted), torch.log(wanted.distance / BOX_UNIT_PX), wanted)
    silent = loss(torch.full_like(wanted.heat, -4.0), torch.zeros_like(wanted.distance), wanted)
    assert right[1] < 1e-4
    assert right[0] < silent[0] / 2
    assert silent[1] > 0.1


def test_what_is_ignored_is_not_punished() -> None:
    ignored = [torch.tensor([[0.0, 0, 64, 64]])]
    logits = torch.full((1, 6, 20, 20), -9.0)
    logits[..., 2:6, 2:6] = 4.0
    sides = torch.zeros(1, 4, 20, 20)
    free = loss(logits, sides, targets([torch.zeros(0, 5)], ignored, 6, 20, 20))[0]
    punished = loss(logits, sides, targets([torch.zeros(0, 5)], NONE, 6, 20, 20))[0]
    assert free < 0.01 * punished


def test_an_image_without_boxes_has_a_loss() -> None:
    wanted = targets([torch.zeros(0, 5)], NONE, 6, 40, 40)
    found = loss(torch.full_like(wanted.heat, -4.0), torch.zeros_like(wanted.distance), wanted)
    assert all(torch.isfinite(one) for one in found)


def test_giou() -> None:
    box = torch.tensor([[5.0, 5, 5, 5]])
    assert giou(box, box).item() == pytest.approx(1.0)
    assert giou(box, torch.tensor([[5.0, 5, 15, 5]])).item() == pytest.approx(0.5)


# --- the comparison -------------------------------------------------------------------------------------------------


def test_light_vanishes_and_what_differs_stays() -> None:
    golden = torch.full((1, 1, 64, 64), 230.0)
    golden[..., 20:40, :] = 20
    image = golden.clone()
    image[..., 50:58, 30:38] = 20
    image = image * 0.7 + 30
    channels = compare(normalise(image, levels(image)), normalise(golden, levels(golden)))
    assert channels.shape == (1, 6, 64, 64)
    for extra, missing in (channels[0, 2:4], channels[0, 4:6]):
        assert extra[54, 34] > 1.5
        assert extra[:48].max() < 0.2
        assert missing.max() < 0.2


def test_levels_do_not_depend_on_the_share_of_copper() -> None:
    for rows in (2, 30, 60):
        image = torch.full((1, 1, 64, 64), 230.0)
        image[..., :rows, :] = 20
        assert levels(image).flatten().tolist() == pytest.approx([20, 230], abs=0.1)


def test_a_blank_golden_image_takes_the_levels_of_the_image() -> None:
    golden = torch.full((1, 1, 64, 64), 255.0)
    image = golden.clone()
    image[..., 20:30, 20:30] = 0
    seen, known = levels_of_pair(image, golden)
    channels = compare(normalise(image, seen), normalise(golden, known))
    assert channels[0, 2, 25, 25] == pytest.approx(2.0, abs=0.05)
    assert channels[0, 2, :15].abs().max() < 0.05
    both = levels_of_pair(golden, golden)
    assert torch.isfinite(compare(normalise(golden, both[0]), normalise(golden, both[1]))).all()


def test_the_network_is_fully_convolutional() -> None:
    network = GoldenPair(6).eval()
    with torch.no_grad():
        logits, sides = network(torch.zeros(1, 6, 96, 128))
    assert logits.shape == (1, 6, 12, 16)
    assert sides.shape == (1, 4, 12, 16)


# --- freehand defects -----------------------------------------------------------------------------------------------


def trace() -> np.ndarray:
    copper = np.zeros((120, 120), np.uint8)
    copper[50:70] = 1
    copper[85:100] = 1
    return copper


@pytest.mark.parametrize(
    ("window", "value", "code"),
    [
        (np.s_[56:62, 40:50], 0, "pin_hole"),
        (np.s_[45:58, 40:50], 0, "mousebite"),
        (np.s_[45:75, 40:50], 0, "open"),
        (np.s_[20:30, 40:50], 1, "spurious_copper"),
        (np.s_[40:55, 40:50], 1, "spur"),
        (np.s_[65:90, 40:50], 1, "short"),
    ],
)
def test_topology_names_the_defect(window: tuple[slice, slice], value: int, code: str) -> None:
    stroke = np.zeros((120, 120), np.uint8)
    stroke[window] = 1
    drawn = freehand.effect(trace(), stroke, value)
    assert drawn is not None
    assert drawn.code == code
    x0, y0, x1, y1 = drawn.xyxy_px
    assert (x0, x1) == (40, 50)
    assert (drawn.changed[y0:y1, x0:x1].any(), drawn.changed.sum()) == (True, drawn.changed[y0:y1, x0:x1].sum())


def test_what_changes_nothing_is_no_defect() -> None:
    stroke = np.zeros((120, 120), np.uint8)
    stroke[55:65, 40:50] = 1
    assert freehand.effect(trace(), stroke, 1) is None


def test_every_class_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    for code in CODES:
        found = [one.code for _ in range(25) if (one := freehand.draw(trace(), rng, code))]
        assert found.count(code) >= len(found) * 0.6
        assert len(found) >= 5


def test_drawn_defects_keep_apart_and_are_in_the_image() -> None:
    copper = np.tile(trace(), (3, 3))
    scene = draw_onto(Scene(image=copper, golden=copper, boxes=EMPTY), 12, np.random.default_rng(1))
    assert len(scene.boxes) >= 4
    inside = np.zeros_like(copper)
    for _, x0, y0, x1, y1 in scene.boxes.astype(int).tolist():
        assert (scene.image != scene.golden)[max(0, y0) : y1, max(0, x0) : x1].any()
        inside[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = 1
    assert not ((scene.image != scene.golden) & (inside == 0)).any()


# --- augmentations --------------------------------------------------------------------------------------------------


def test_polarity_exchanges_what_is_missing_and_what_is_too_much() -> None:
    boxes = np.array([[CODES.index("open"), 1, 2, 3, 4], [CODES.index("spur"), 1, 2, 3, 4]], np.float32)
    turned = augment.polarity(Scene(image=trace(), golden=trace(), boxes=boxes))
    assert [CODES[int(one)] for one in turned.boxes[:, 0]] == ["short", "mousebite"]
    again = augment.polarity(turned)
    assert (again.image == trace()).all()
    assert (again.boxes == boxes).all()


def test_turning_keeps_boxes_on_their_pixels() -> None:
    image = np.zeros((200, 200), np.uint8)
    image[30:70, 50:60] = 1
    scene = Scene(image=image, golden=image, boxes=np.array([[2, 50, 30, 60, 70]], np.float32))
    for seed in range(16):
        turned = augment.orientation(scene, np.random.default_rng(seed))
        [[_, x0, y0, x1, y1]] = turned.boxes.astype(int).tolist()
        assert turned.image[y0:y1, x0:x1].sum() == image.sum() == turned.image.sum()


def test_windows_keep_boxes_on_their_pixels() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((640, 640), np.uint8)
    image[300:340, 350:370] = 1
    scene = Scene(image=image, golden=image, boxes=np.array([[2, 350, 300, 370, 340]], np.float32))
    seen = 0
    for _ in range(40):
        cut = augment.window(scene, 160 + 2 * PAD_PX, rng)
        for _, x0, y0, x1, y1 in cut.boxes.clip(0, 176).astype(int).tolist():
            seen += 1
            assert cut.image[y0:y1, x0:x1].sum() == cut.image.sum()
    assert seen > 20


def test_a_box_cut_off_is_neither_demanded_nor_punished() -> None:
    scene = Scene(
        image=np.zeros((176, 176), np.uint8),
        golden=np.zeros((176, 176), np.uint8),
        boxes=np.array([[0, 60, 60, 90, 90], [1, 160, 60, 200, 90], [2, 168, 100, 175, 120]], np.float32),
    )
    crop = augment.light(scene, np.random.default_rng(0), grey=False)
    assert crop.image.shape == (160, 160)
    assert crop.boxes.tolist() == [[0, 52, 52, 82, 82]]
    assert crop.ignored.tolist() == [[152, 52, 160, 82]]


def test_etching_moves_edges_only() -> None:
    scene = Scene(image=trace(), golden=trace(), boxes=EMPTY)
    moved = 0
    for seed in range(6):
        etched = augment.etching(scene, np.random.default_rng(seed))
        far = np.abs(np.arange(120)[:, None] - np.array([50, 70, 85, 100])).min(axis=1) > 2
        assert (etched.image[far] == trace()[far]).all()
        moved += int((etched.image != trace()).sum())
    assert moved > 50


def test_a_rendered_sample_has_its_boxes_inside() -> None:
    sample = rendered(layout("train-0"), np.random.default_rng(1), 10)
    assert sample.image.shape == sample.golden.shape == (640, 640)
    assert len(sample.boxes) >= 8
    assert (sample.boxes[:, 1:] >= 0).all()
    assert (sample.boxes[:, 1:] <= 640).all()


# --- the loop -------------------------------------------------------------------------------------------------------

FEW = Source(layouts=2)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first = next(iter(Stream(FEW, 1, 7, 8)))
    again = next(iter(Stream(FEW, 1, 7, 8)))
    other = next(iter(Stream(FEW, 1, 8, 9)))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert first[0].shape != other[0].shape or not torch.equal(first[0], other[0])


@pytest.mark.slow
def test_a_resumed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    batches = [collate(FEW.batch(rng, 96, 2)) for _ in range(3)]
    whole = Trainer(1e-3, 10)
    state = {key: value.clone() for key, value in whole.network.state_dict().items()}
    for step, batch in enumerate(batches):
        whole.step(step, batch)
    halves = Trainer(1e-3, 10)
    halves.network.load_state_dict(state)
    halves.step(0, batches[0])
    halves.save(tmp_path / "last.pt", 1)
    resumed = Trainer(1e-3, 10)
    first = resumed.load(tmp_path / "last.pt")
    assert first == 1
    for step, batch in enumerate(batches[1:], start=first):
        resumed.step(step, batch)
    for one, two in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def test_a_run_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    Trainer(1e-3, 10, {"seed": "1", "rate": "0.001"}).save(tmp_path / "last.pt", 5)
    assert Trainer(1e-3, 10, {"seed": "1", "rate": "0.001"}).load(tmp_path / "last.pt") == 5
    with pytest.raises(SystemExit, match=r"last.pt: begun with seed 1: go on with the same"):
        Trainer(1e-3, 10, {"seed": "2", "rate": "0.001"}).load(tmp_path / "last.pt")


def test_the_weights_of_a_packaged_model_answer_as_before(tmp_path: Path) -> None:
    compared = torch.rand(2, 6, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    network = GoldenPair(6).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.weight.data.uniform_(0.8, 1.2)
    write_fp32(network, tmp_path / "model.onnx")
    write_fp16(tmp_path / "model.onnx", tmp_path / "model_fp16.onnx")
    again, settled = GoldenPair(6).eval(), GoldenPair(6).train()
    load_packaged(again, tmp_path / "model_fp16.onnx")
    load_packaged(settled, tmp_path / "model_fp16.onnx", [compared])
    with torch.no_grad():
        for one, two, three in zip(network(compared), again(compared), settled(compared), strict=True):
            assert torch.allclose(one, two, atol=0.02)
            assert torch.allclose(one, three, atol=0.02)


def test_a_packaged_model_of_another_network_is_refused(tmp_path: Path) -> None:
    lone = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.save(lone, tmp_path / "model_fp16.onnx")
    with pytest.raises(SystemExit, match="another network"):
        load_packaged(GoldenPair(6), tmp_path / "model_fp16.onnx")


@pytest.mark.parametrize(
    ("node", "module"),
    [("/network/near/near.1/first/first.0/Conv", "near.1.first.0"), ("/network/heat/Conv", "heat")],
)
def test_nodes_are_named_after_modules(node: str, module: str) -> None:
    assert module_name(node) == module


def test_a_sample_is_seen_twice_turned_another_way() -> None:
    first, second, third = Stream(FEW, 1, 6, 9)
    assert first[0].shape == second[0].shape
    assert torch.equal(first[0].sum(dim=(1, 2, 3)), second[0].sum(dim=(1, 2, 3)))
    assert not torch.equal(first[0], second[0])
    assert first[0].shape != third[0].shape or not torch.equal(first[0].sum(), third[0].sum())


def test_rate_rises_and_falls() -> None:
    rates = [rate_at(step, 1000, 1.0) for step in (0, 99, 100, 550, 999)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] == rates[2] == pytest.approx(1.0)
    assert 0.4 < rates[3] < 0.6
    assert rates[4] < 0.02


def test_deeppcb_needs_its_folder() -> None:
    assert source("board", None).pairs == ()
    with pytest.raises(SystemExit):
        source("deeppcb", None)


def test_groups_are_read_with_their_labels(tmp_path: Path) -> None:
    (tmp_path / "group1" / "1").mkdir(parents=True)
    (tmp_path / "group1" / "1" / "10_test.jpg").write_bytes(b"")
    [pair] = deeppcb(tmp_path, ["group1"])
    assert pair.golden.name == "10_temp.jpg"
    assert pair.labels == tmp_path / "group1" / "1_not" / "10.txt"


# --- the gate -------------------------------------------------------------------------------------------------------


def answers(score: float, code: str = "open") -> list[Judged]:
    box = (10.0, 10.0, 40.0, 40.0)
    found = tuple(Found(code=one if one != "open" else code, score=score, xyxy_px=box) for one in CODES)
    return [Judged(found=(one,), truth=((truth, box),)) for one, truth in zip(found, CODES, strict=True)]


def test_the_gate_lets_an_equal_export_through() -> None:
    assert compare_answers(answers(0.9), answers(0.8), CODES).objections() == []


def test_the_gate_names_what_got_worse() -> None:
    quiet = compare_answers(answers(0.9) * 5, answers(0.4) * 5, CODES)
    assert quiet.map_lost == 0
    assert quiet.objections()[0] == "5 of 5 open are not found any more, allowed: 1%"
    assert len(quiet.objections()) == len(CODES)
    confused = compare_answers(answers(0.9), answers(0.9, "short"), CODES)
    assert "mAP fell" in confused.objections()[0]
    assert confused.objections()[1].startswith("average precision of open fell by 1.0")


def test_what_cannot_be_measured_is_refused() -> None:
    nothing = float("nan")
    broken = Comparison(map_reference=0.9, map_candidate=nothing, precision_lost={"open": nothing}, boxes_lost={})
    assert len(broken.objections()) == 2


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_report_shows_curves_and_confusion(tmp_path: Path) -> None:
    log = [{"step": 0, "settings": {"name": "board", "seed": "1"}}]
    log += [{"step": 50 * n, "heat": 2 / n, "box": 1 / n, "seconds": n} for n in range(1, 5)]
    figures = {
        "model": "m/1",
        "data": "somewhere",
        "map_33": 0.5,
        "f_score": 0.4,
        "recall": 0.3,
        "precision": 0.2,
        "by_class": {"open": {"ap_33": 0.5, "recall": 0.25, "precision": 1.0, "truths": 4, "false": 0}},
        "confusion": [{"truth": "open", "found": "<nothing>", "count": 3}],
        "curve": [{"score": 0.5, "recall": 0.5, "precision": 1.0, "false_boxes_per_image": 0.1}],
        "calibration": {"ece": 0.1, "bins": [{"score": 0.7, "true_share": 0.5, "boxes": 2}]},
    }
    html = page([json.loads(json.dumps(line)) for line in log], [figures])
    assert html.count("<svg") == 4
    assert "&lt;nothing&gt;" in html
    assert "somewhere" in html
    assert "seed" in html


def test_samples_are_what_they_say() -> None:
    image = np.zeros((4, 4), np.uint8)
    assert Sample(image=image, golden=image, boxes=EMPTY).boxes.shape == (0, 5)
