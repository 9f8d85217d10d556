"""Labelled images from everywhere into one form; nothing is dropped in silence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.adapters.cameras.image_file import decode
from edge_agent.adapters.images.folder import FolderImages
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.config.plant import RetentionSection
from edge_agent.datasets import disk, export, making
from edge_agent.datasets.boxes import from_coco, from_yolo, iou, to_coco, to_yolo
from edge_agent.datasets.choosing import measured_items
from edge_agent.datasets.dataset import Box, Dataset, Split, version_of
from edge_agent.datasets.draft import Gathered
from edge_agent.datasets.making import Made, Placing, Wish
from edge_agent.datasets.sources import coco, deeppcb, folders, verdicts, yolo
from edge_agent.datasets.splitting import SplitRule, by_group
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.inspection import Evaluation
from edge_agent.simulation.boards import CODES
from tests.fakes.clock import FakeClock
from tests.fakes.made import a_case, an_incident, an_inspection, an_order
from tests.fakes.pictures import SIZE_WH, box, data_set, draft, draw, picture, quiet, save


def made(gathered: Gathered, folder: Path, **wish: Any) -> Made:
    return making.make(gathered, folder, Wish(name="t", made_at="", **wish), decode, quiet)


def reasons(found: Gathered | Made) -> dict[str, str]:
    return {f"{one.file} {one.line}".strip(): f"{one.value} | {one.expected}" for one in found.skipped}


def put(path: Path, text: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- boxes between forms ----------------------------------------------------------------------------------------------

coordinates = st.floats(0, 4000, allow_nan=False)
boxes_px = st.tuples(coordinates, coordinates, coordinates, coordinates).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))


@given(boxes_px, sizes)
def test_boxes_survive_yolo_and_coco(xyxy_px: tuple[float, float, float, float], size_wh: tuple[int, int]) -> None:
    assert from_yolo(to_yolo(xyxy_px, size_wh), size_wh) == pytest.approx(xyxy_px, abs=1e-6)
    assert from_coco(to_coco(xyxy_px)) == pytest.approx(xyxy_px, abs=1e-6)


@given(boxes_px, boxes_px)
def test_iou_is_symmetric_and_bounded(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float]
) -> None:
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, b) == pytest.approx(iou(b, a))


inside_boxes = st.tuples(
    st.integers(0, SIZE_WH[0] - 4), st.integers(0, SIZE_WH[1] - 4), st.integers(1, 40), st.integers(1, 30)
).map(lambda b: (float(b[0]), float(b[1]), float(min(b[0] + b[2], SIZE_WH[0])), float(min(b[1] + b[3], SIZE_WH[1]))))
labels = st.lists(st.tuples(st.sampled_from(["spur", "open"]), inside_boxes), max_size=5)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(labels, min_size=1, max_size=4), st.sampled_from(export.Form))
def test_a_data_set_survives_export_and_import(
    tmp_path_factory: pytest.TempPathFactory, images: list[Any], form: export.Form
) -> None:
    """YOLO and COCO files hold all that a data set's version speaks of, but the groups."""
    folder = tmp_path_factory.mktemp("round")
    splits = list(Split)
    drafts = [
        draft(
            draw(folder / "source" / f"{place}.png", place),
            *(Box(code=code, xyxy_px=xyxy_px) for code, xyxy_px in found),
            split=splits[place % 3],
        )
        for place, found in enumerate(images)
    ]
    first = data_set(folder / "first", *drafts)
    assert export.write(disk.read(folder / "first"), folder / "out", form) == len(images)
    gathered = yolo.gather(folder / "out") if form is export.Form.yolo else coco.gather(folder / "out")
    assert reasons(gathered) == {}
    second = made(gathered, folder / "second").dataset
    assert contents(second) == contents(first)


def contents(dataset: Dataset) -> list[Any]:
    return sorted(
        (item.sha256, item.split.value, sorted((b.code, *(round(v, 2) for v in b.xyxy_px)) for b in item.boxes))
        for item in dataset.items
    )


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_version_does_not_depend_on_order_place_or_names(tmp_path: Path) -> None:
    a, b = (draw(tmp_path / name, seed) for name, seed in (("a.png", 1), ("b.png", 2)))
    one, two = box("spur"), box("open", (40, 10, 50, 20))
    first = data_set(tmp_path / "1", draft(a, one, two, group="g"), draft(b, group="g"))
    moved = put(tmp_path / "elsewhere" / "b2.png", b.read_bytes())
    second = data_set(
        tmp_path / "2", draft(moved, group="g"), draft(a, two, one, group="g"), name="other", placing=Placing.LINK
    )
    assert first.version == second.version


def test_the_version_changes_with_any_label_pixel_group_split_or_class(tmp_path: Path) -> None:
    image = draw(tmp_path / "a.png", 1)
    plain = data_set(tmp_path / "plain", draft(image, box()))
    item, classes = plain.items[0], plain.classes
    others = {
        version_of(classes, [replace(item, boxes=(box("open"),))]),
        version_of(classes, [replace(item, boxes=(box("spur", (10, 10, 30, 24.001)),))]),
        version_of(classes, [replace(item, boxes=())]),
        version_of(classes, [replace(item, codes=("open",))]),
        version_of(classes, [replace(item, sha256="0" * 64)]),
        version_of(classes, [replace(item, golden_sha256="0" * 64)]),
        version_of(classes, [replace(item, group="other")]),
        version_of(classes, [replace(item, split=Split.TEST)]),
        version_of(classes[::-1], [item]),
        version_of(classes, [item, item]),
        version_of(classes, []),
    }
    assert len(others | {plain.version}) == 12


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    golden = draw(tmp_path / "golden.png", 3)
    dataset = data_set(
        tmp_path / "d",
        draft(draw(tmp_path / "ä b.png", 1), box(), golden=golden),
        draft(draw(tmp_path / "c.png", 2), codes=("open",)),
    )
    loaded = disk.read(tmp_path / "d")
    assert loaded.dataset == dataset
    assert loaded.broken_lines == ()
    assert loaded.counts == dataset.counts()
    assert (tmp_path / "d" / dataset.items[0].image).read_bytes() == (tmp_path / "ä b.png").read_bytes()


def test_links_point_at_the_source(tmp_path: Path) -> None:
    image = draw(tmp_path / "a.png", 1)
    dataset = data_set(tmp_path / "d", draft(image), placing=Placing.LINK)
    placed = tmp_path / "d" / dataset.items[0].image
    assert placed.is_symlink()
    assert placed.resolve() == image.resolve()


def test_a_data_set_is_never_overwritten_and_never_half_there(tmp_path: Path) -> None:
    image = draw(tmp_path / "a.png", 1)
    data_set(tmp_path / "d", draft(image))
    with pytest.raises(ConfigError, match="never overwritten"):
        data_set(tmp_path / "d", draft(image))
    with pytest.raises(ConfigError, match="no image could be taken: 1 were skipped, the first: gone"):
        data_set(tmp_path / "e", draft(tmp_path / "gone.png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "d"]


# --- splits -----------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 50), min_size=3, max_size=40), st.integers(0, 5))
def test_splits_are_whole_groups_repeatable_and_none_is_empty(sizes: dict[str, int], seed: int) -> None:
    rule = SplitRule(seed=seed)
    splits = by_group(sizes, rule)
    assert splits == by_group(dict(reversed(sizes.items())), rule)
    assert set(splits) == set(sizes)
    assert set(splits.values()) == set(Split)


def test_shares_are_met_where_groups_are_small() -> None:
    splits = by_group({f"g{n}": 10 for n in range(200)}, SplitRule(val=0.2, test=0.1))
    counted = [sum(10 for one in splits.values() if one is split) for split in Split]
    assert counted == [1400, 400, 200]


def test_exactly_the_named_groups_test() -> None:
    splits = by_group({f"g{n}": 5 for n in range(20)}, SplitRule(test_groups=("g3", "g7")))
    assert {group for group, split in splits.items() if split is Split.TEST} == {"g3", "g7"}
    with pytest.raises(ConfigError, match="no such group: g99; the groups are g1"):
        by_group({"g1": 1}, SplitRule(test_groups=("g99",)))
    with pytest.raises(ConfigError, match="together below 1"):
        SplitRule(val=0.6, test=0.5)


def test_the_sources_split_is_kept_unless_it_is_incomplete_or_unwanted(tmp_path: Path) -> None:
    drafts = [
        draft(draw(tmp_path / f"{n}.png", n), group=f"g{n}", split=Split.VAL if n else Split.TEST) for n in range(6)
    ]
    kept = data_set(tmp_path / "kept", *drafts)
    assert [item.split for item in kept.items] == [one.split for one in drafts]
    again = data_set(tmp_path / "again", *drafts, split=SplitRule(resplit=True))
    assert {item.split for item in again.items} == set(Split)
    some = data_set(tmp_path / "some", *drafts[:-1], replace(drafts[-1], split=None))
    assert {item.split for item in some.items} == set(Split)
    chosen = data_set(tmp_path / "chosen", *drafts, split=SplitRule(test_groups=("g4",)))
    assert [item.group for item in chosen.items if item.split is Split.TEST] == ["g4"]


def test_groups_by_pattern(tmp_path: Path) -> None:
    drafts = [
        draft(draw(tmp_path / name, n), group="source's")
        for n, name in enumerate(["lot1_a.png", "lot1_b.png", "x.png"])
    ]
    dataset = data_set(tmp_path / "d", *drafts, group_by="(lot[0-9]+)_")
    assert [item.group for item in dataset.items] == ["lot1", "lot1", "source's"]
    for pattern, why in {"lot": "expected one bracket", "(": "unterminated|missing"}.items():
        with pytest.raises(ConfigError, match=why):
            data_set(tmp_path / "e", *drafts, group_by=pattern)


# --- DeepPCB ----------------------------------------------------------------------------------------------------------


def deeppcb_pair(root: Path, group: str, stem: str, text: str | bytes | None) -> None:
    folder = root / f"group{group}" / group
    draw(folder / f"{stem}_test.jpg", hash(stem) % 1000)
    draw(folder / f"{stem}_temp.jpg", hash(group) % 1000)
    if text is not None:
        put(folder.with_name(f"{group}_not") / f"{stem}.txt", text)


def test_deeppcb_pairs_come_with_golden_image_group_and_class(tmp_path: Path) -> None:
    root = tmp_path / "pcb"
    deeppcb_pair(root, "1", "10", "10 12 30 34 3\n1,2,5,6,6\n")
    deeppcb_pair(root, "2", "20", "")
    dataset = made(deeppcb.gather(root), tmp_path / "d").dataset
    first, second = dataset.items
    assert [(one.code, one.xyxy_px) for one in first.boxes] == [
        ("mousebite", (10, 12, 30, 34)),
        ("pin_hole", (1, 2, 5, 6)),
    ]
    assert (first.group, first.origin) == ("group1", "group1/1/10_test.jpg")
    assert first.golden is not None
    assert first.golden != first.image
    assert second.is_good
    assert dataset.classes == CODES


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [
        ("1 2 3 4 1\n1 2 3 x 1", "2", "x"),
        ("1 2 3 4", "1", "1 2 3 4"),
        ("1 2 3 4 7", "1", "1 2 3 4 7"),
        ("1 2 3 4 0", "1", "1 2 3 4 0"),
        ("5 2 3 4 1", "1", "5 2 3 4 1"),
        ("nan 2 3 4 1", "1", "nan"),
        ("1 2 inf 4 1", "1", "inf"),
        (f"1 2 {'9' * 5000} 4 1", "1", "999"),
        (b"1 2 \xff\xfe 4 1", "1", "1 2 \\xff\\xfe 4 1"),
        (b"\x00" * 50, "1", "\\x00"),
        (None, "", "no such file"),
    ],
)
def test_a_pair_with_one_bad_label_is_skipped_and_named(
    tmp_path: Path, text: str | bytes | None, line: str, value: str
) -> None:
    root = tmp_path / "pcb"
    deeppcb_pair(root, "1", "10", "10 12 30 34 3\n")
    deeppcb_pair(root, "1", "11", text)
    gathered = deeppcb.gather(root)
    assert len(gathered.drafts) == 1
    (one,) = gathered.skipped
    assert (one.file, one.line) == ("group1/1_not/11.txt", line)
    assert one.value.startswith(value)
    assert one.expected


def test_deeppcb_labels_without_image_are_named(tmp_path: Path) -> None:
    deeppcb_pair(tmp_path, "1", "10", "")
    put(tmp_path / "group1" / "1_not" / "99.txt", "")
    assert list(reasons(deeppcb.gather(tmp_path))) == ["group1/1_not/99.txt"]
    with pytest.raises(ConfigError, match="no DeepPCB pairs"):
        deeppcb.gather(put(tmp_path / "empty" / "x").parent)


# --- YOLO -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def yolo_root(tmp_path: Path) -> Path:
    root = tmp_path / "yolo"
    put(root / "data.yaml", "path: ../yolo\ntrain: images/train\nval: ../images/val\nnames: {0: spur, 1: open}\n")
    draw(root / "images" / "train" / "a.png", 1)
    draw(root / "images" / "val" / "b.png", 2)
    put(root / "labels" / "train" / "a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0 0 0.5 0 0.5 0.25 0 0.25\n")
    put(root / "labels" / "val" / "b.txt", "")
    return root


def test_yolo_boxes_polygons_and_good_images(yolo_root: Path, tmp_path: Path) -> None:
    for source in (yolo_root, yolo_root / "data.yaml"):
        gathered = yolo.gather(source)
        assert reasons(gathered) == {}
    a, b = made(gathered, tmp_path / "d").dataset.items
    assert [(one.code, one.xyxy_px) for one in a.boxes] == [("open", (36, 16, 60, 48)), ("spur", (0, 0, 48, 16))]
    assert (a.split, b.split, b.is_good) == (Split.TRAIN, Split.VAL, True)


def test_yolo_with_names_in_a_file_and_splits_in_folders(tmp_path: Path) -> None:
    put(tmp_path / "classes.txt", "spur\nopen\n")
    draw(tmp_path / "test" / "images" / "a.png", 1)
    put(tmp_path / "test" / "labels" / "a.txt", "1 0.5 0.5 0.1 0.1")
    (one,) = yolo.gather(tmp_path).drafts
    assert (one.split, one.boxes[0].code) == (Split.TEST, "open")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 0.5 0.5 0.1 0.1", "2"),
        ("-1 0.5 0.5 0.1 0.1", "-1"),
        ("1.0 0.5 0.5 0.1 0.1", "1.0"),
        ("٣ 0.5 0.5 0.1 0.1", "\\xd9\\xa3|٣"),
        ("0 0.5 0.5 0.1", "0 0.5 0.5 0.1"),
        ("0 0.5 0.5 -0.1 0.1", "0 0.5 0.5 -0.1 0.1"),
        ("0 0.5 nan 0.1 0.1", "nan"),
        ("0 0.5 1e308 0.1 0.1", "1e308"),
        ("0 0.5 0.5 0.1 1e999", "1e999"),
        (f"{'9' * 9999} 0.5 0.5 0.1 0.1", "999"),
        (b"0 0.5 0.5 0.1 \xff", "0 0.5 0.5 0.1 \\xff"),
        ("<xml/>", "<xml/>"),
    ],
)
def test_a_yolo_image_with_one_bad_line_is_skipped_and_named(yolo_root: Path, text: str | bytes, value: str) -> None:
    put(
        yolo_root / "labels" / "train" / "a.txt",
        b"0 0.5 0.5 0.1 0.1\n" + (text if isinstance(text, bytes) else text.encode()),
    )
    gathered = yolo.gather(yolo_root)
    (one,) = gathered.skipped
    assert (one.file, one.line, len(gathered.drafts)) == ("labels/train/a.txt", "2", 1)
    assert one.value.startswith(tuple(value.split("|")))


def test_lost_labels_do_not_make_good_images(yolo_root: Path) -> None:
    (yolo_root / "labels" / "val" / "b.txt").unlink()
    put(yolo_root / "labels" / "val" / "orphan.txt", "")
    assert list(reasons(yolo.gather(yolo_root))) == ["labels/val/b.txt", "labels/val/orphan.txt"]
    asked = yolo.gather(yolo_root, unlabelled_is_good=True)
    assert list(reasons(asked)) == ["labels/val/orphan.txt"]
    assert len(asked.drafts) == 2


def test_yolo_paths_do_not_leave_the_folder(yolo_root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "secret" / "images" / "s.png", 9)
    put(yolo_root / "list.txt", "/etc/passwd\n../secret/images/s.png\nimages/train/a.png\n\x00.png\n")
    put(yolo_root / "data.yaml", "train: [list.txt, ../../secret]\nval: /etc\ntest: gone\nnames: [spur, open]\n")
    gathered = yolo.gather(yolo_root)
    assert [one.origin for one in gathered.drafts] == ["images/train/a.png"]
    places = [f"{one.file} {one.line}" for one in gathered.skipped]
    assert places == ["list.txt 1", "list.txt 2", "list.txt 4", "data.yaml train", "data.yaml val", "data.yaml test"]


def test_links_out_of_the_folder_and_loops_are_named_not_followed(yolo_root: Path, tmp_path: Path) -> None:
    secret = draw(tmp_path / "secret" / "s.png", 9)
    images = yolo_root / "images" / "train"
    (images / "out.png").symlink_to(secret)
    (images / "self.png").symlink_to("self.png")
    (images / "loop").symlink_to(yolo_root)
    put(yolo_root / "labels" / "train" / "self.txt", "")
    gathered = yolo.gather(yolo_root)
    assert [one.origin for one in gathered.drafts] == ["images/train/a.png", "images/val/b.png"]
    assert {"images/train/out.png", "images/train/self.png", "images/train/loop"} <= set(reasons(gathered))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("names: [a, a]", "stands there twice"),
        ("names: 3", "expected a list"),
        ("names: {x: a}", "expected a list"),
        ("names: ['']", "1 to 100 printable"),
        ("names: [{a: b}]", "1 to 100 printable"),
        ("- 1", "expected a mapping"),
        ("names: [a", "expected YAML"),
        ("a: " + "[" * 5000, "expected YAML"),
        (b"names: [\xff]", "expected YAML"),
        ("!!python/object/apply:os.system [true]", "expected YAML"),
        ("path: /etc\ntrain: zzz\nnames: [a]", "is no folder below"),
        ("train: images", "expected class names"),
    ],
)
def test_a_yaml_that_cannot_be_used_says_why(tmp_path: Path, text: str | bytes, why: str) -> None:
    put(tmp_path / "data.yaml", text)
    with pytest.raises(ConfigError, match=why):
        yolo.gather(tmp_path)


# --- COCO -------------------------------------------------------------------------------------------------------------


def coco_json(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "categories": [{"id": 7, "name": "spur"}, {"id": 1, "name": "open"}],
        "images": [
            {"id": 1, "file_name": "a.png", "width": SIZE_WH[0], "height": SIZE_WH[1]},
            {"id": 2, "file_name": "b.png"},
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 12, 20.5, 8], "iscrowd": 0}],
    }
    return plain | changes


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    draw(root / "val2017" / "a.png", 1)
    draw(root / "images" / "b.png", 2)
    put(root / "annotations" / "instances_val2017.json", json.dumps(coco_json()))
    put(root / "annotations" / "other.json", "{}")
    return root


def test_coco_boxes_and_good_images(coco_root: Path, tmp_path: Path) -> None:
    gathered = coco.gather(coco_root)
    assert reasons(gathered) == {}
    a, b = made(gathered, tmp_path / "d").dataset.items
    assert [(one.code, one.xyxy_px) for one in a.boxes] == [("spur", (10, 12, 30.5, 20))]
    assert (a.split, a.origin, b.is_good) == (Split.VAL, "val2017/a.png", True)
    assert gathered.classes == ("spur", "open")


@pytest.mark.parametrize(
    ("change", "line", "value"),
    [
        ({"bbox": [1, 2, 3]}, "annotations[0]", "[1, 2, 3]"),
        ({"bbox": [1, 2, -3, 4]}, "annotations[0]", "[1, 2, -3, 4]"),
        ({"bbox": [1, 2, float("nan"), 4]}, "annotations[0]", "nan"),
        ({"bbox": [1, 2, float("inf"), 4]}, "annotations[0]", "inf"),
        ({"bbox": [1, 10**400, 3, 4]}, "annotations[0]", "a number of about"),
        ({"bbox": [1, True, 3, 4]}, "annotations[0]", "True"),
        ({"bbox": [[1], 2, 3, 4]}, "annotations[0]", "[1]"),
        ({"category_id": 99}, "annotations[0]", "99"),
        ({"category_id": "7"}, "annotations[0]", "7"),
        ({"iscrowd": 1}, "annotations[0]", "iscrowd"),
    ],
)
def test_a_coco_image_with_one_bad_annotation_is_skipped_and_both_are_named(
    coco_root: Path, change: dict[str, Any], line: str, value: str
) -> None:
    annotation = coco_json()["annotations"][0] | change
    put(coco_root / "annotations" / "instances_val2017.json", json.dumps(coco_json(annotations=[annotation])))
    gathered = coco.gather(coco_root)
    assert [one.origin for one in gathered.drafts] == ["images/b.png"]
    assert [one.line for one in gathered.skipped] == [line, "images[0]"]
    assert gathered.skipped[0].value.startswith(value)


def test_coco_images_that_cannot_be_taken_are_named(coco_root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "secret.png", 9)
    images = [
        {"id": 1, "file_name": "../../secret.png"},
        {"id": 2, "file_name": "/etc/passwd"},
        {"id": 3, "file_name": "gone.png"},
        {"id": 4, "file_name": 5},
        {"id": 5, "file_name": "a.png"},
        {"id": 5, "file_name": "b.png"},
        "text",
        {"id": 6, "file_name": "a\x00.png"},
    ]
    more = [{"image_id": 77, "category_id": 7, "bbox": [1, 2, 3, 4]}]
    put(coco_root / "annotations" / "instances_val2017.json", json.dumps(coco_json(images=images, annotations=more)))
    gathered = coco.gather(coco_root)
    assert gathered.drafts == []
    assert [one.line for one in gathered.skipped] == [*(f"images[{place}]" for place in range(8)), "annotations"]


def test_a_coco_size_that_is_not_the_files_is_named(coco_root: Path, tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png", "width": 999, "height": 64}, {"id": 2, "file_name": "b.png"}]
    put(coco_root / "annotations" / "instances_val2017.json", json.dumps(coco_json(images=images)))
    result = made(coco.gather(coco_root), tmp_path / "d")
    assert reasons(result) == {"val2017/a.png images[0]": "the labels are for (999, 64) | the image's size, (96, 64)"}


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b"\xff\xfe", b"[" * 200_000, b'{"images": 1, "annotations": [], "categories": []}'],
)
def test_what_is_no_coco_says_so(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigError, match="expected"):
        coco.gather(put(tmp_path / "a.json", text))


def test_coco_images_elsewhere(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png", 1)
    draw(tmp_path / "pictures" / "deep" / "b.png", 2)
    about = coco_json(images=[{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "deep/b.png"}])
    file = put(tmp_path / "labels" / "train.json", json.dumps(about))
    gathered = coco.gather(file, images=tmp_path / "pictures")
    assert [one.origin for one in gathered.drafts] == ["a.png", "deep/b.png"]


# --- folders ----------------------------------------------------------------------------------------------------------


def test_folders_are_labels(tmp_path: Path) -> None:
    root = tmp_path / "parts"
    draw(root / "train" / "good" / "1.png", 1)
    draw(root / "test" / "scratch" / "2.png", 2)
    draw(root / "test" / "dent" / "3.png", 3)
    mask = np.zeros((64, 96), np.uint8)
    mask[10:20, 30:50] = 255
    mask[40:50, 5:15] = 255
    save(root / "ground_truth" / "scratch" / "2_mask.png", mask)
    put(root / "test" / "dent" / "notes.txt", "x")
    draw(root / "loose.png", 4)
    gathered = folders.gather(root, decode)
    assert list(reasons(gathered)) == ["loose.png", "test/dent/notes.txt"]
    by_origin = {item.origin: item for item in made(gathered, tmp_path / "d").dataset.items}
    assert by_origin["train/good/1.png"].is_good
    assert by_origin["test/dent/3.png"].codes == ("dent",)
    scratches = by_origin["test/scratch/2.png"]
    assert [one.xyxy_px for one in scratches.boxes] == [(30, 10, 50, 20), (5, 40, 15, 50)]
    assert (scratches.codes, scratches.split) == ((), Split.TEST)
    assert gathered.classes == ("dent", "scratch")


def test_folders_without_splits(tmp_path: Path) -> None:
    draw(tmp_path / "good" / "1.png", 1)
    draw(tmp_path / "dent" / "2.png", 2)
    gathered = folders.gather(tmp_path, decode)
    assert [(one.codes, one.split) for one in gathered.drafts] == [(("dent",), None), ((), None)]
    with pytest.raises(ConfigError, match="no images in class folders"):
        folders.gather(put(tmp_path / "none" / "x.txt").parent, decode)


# --- the agent's own store -------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Five parts of one lot: an open twice (answered: a real cause), a spur (answered: the camera), and unanswered."""
    clock = FakeClock()
    store = Database(sqlite_url(tmp_path), clock=clock)
    store.migrate()
    images = FolderImages(tmp_path / "images", RetentionSection(), clock=clock, sync=False, min_free_bytes=0)
    parts = []
    for seed, codes in enumerate([("open",), ("open", "spur"), ("spur",), ("short",), ()]):
        clock.advance(1)
        plain = an_inspection(clock, codes=codes)
        key, at = plain.inspection_id, plain.ended_at
        frame = images.put(picture(seed), inspection_id=key, role="frame" if codes else "frame.ok", at=at)
        golden = images.put(picture(99), inspection_id=key, role="golden", at=at)
        shot = replace(plain.shot, lot_id="LOT-1")
        parts.append(replace(plain, images=(frame, golden) if codes else (frame,), shot=shot))
    ids = [part.inspection_id for part in parts]
    with store.unit() as uow:
        for part in parts:
            uow.inspections.add(part)
        answers = [("open", "A17", 0.7, ids[:2]), ("spur", "MEAS", 0.7, ids[1:3]), ("short", "NONE", 0.3, ids[3:4])]
        for number, (code, cause, weight, found) in enumerate(answers):
            incident = an_incident(clock, code=code, class_counts={code: 2}, inspection_ids=tuple(found))
            order = an_order(clock, incident_id=incident.incident_id, number=f"WO-{number}", key=code)
            uow.incidents.save(incident)
            uow.orders.save(order)
            uow.answers.save_case(
                a_case(
                    clock,
                    incident_id=incident.incident_id,
                    order_id=order.order_id,
                    cause_id=cause,
                    code=code,
                    weight=weight,
                )
            )
        uow.commit()
    store.close()
    return tmp_path


def gathered_from(state: Path, **more: Any) -> Gathered:
    store = Database(sqlite_url(state), clock=FakeClock())
    try:
        with store.reader() as uow:
            images = FolderImages(state / "images", RetentionSection(), clock=FakeClock())
            return verdicts.gather(uow, images, **more)
    finally:
        store.close()


def test_only_what_people_said_makes_labels(state: Path, tmp_path: Path) -> None:
    gathered = gathered_from(state)
    items = made(gathered, tmp_path / "d").dataset.items
    assert [[one.code for one in item.boxes] for item in items] == [["open"], ["open"], []]
    assert [item.label_source for item in items] == [
        "WO-0 closed with A17",
        "WO-0 closed with A17; WO-1 closed with MEAS",
        "WO-1 closed with MEAS",
    ]
    assert {item.group for item in items} == {"LOT-1"}
    assert all(item.golden for item in items)
    assert [one.value for one in gathered.skipped] == [
        "WO-2 closed with NONE: no cause was found, which does not say whether the defects are real",
        "OK: nobody has said what it was",
    ]


def test_doubtful_answers_make_no_labels_and_accepted_parts_only_when_asked(state: Path) -> None:
    assert gathered_from(state, min_trust=0.8).drafts == []
    drafts = gathered_from(state, accepted_too=True).drafts
    assert [one.label_source for one in drafts][-1] == "agent"
    assert drafts[-1].boxes == ()


def test_images_that_retention_removed_or_someone_changed_are_named(state: Path, tmp_path: Path) -> None:
    gathered = gathered_from(state)
    gathered.drafts[0].image.unlink()
    save(gathered.drafts[1].image, picture(55))
    result = made(gathered, tmp_path / "d")
    assert len(result.dataset.items) == 1
    assert [one.value.partition(":")[0].split()[0] for one in result.skipped[-2:]] == ["no", "sha256"]


def test_not_inspected_parts_are_never_good_images(tmp_path: Path) -> None:
    clock = FakeClock()
    store = Database(sqlite_url(tmp_path), clock=clock)
    store.migrate()
    images = FolderImages(tmp_path / "images", RetentionSection(), clock=clock, sync=False, min_free_bytes=0)
    part = an_inspection(clock, evaluation=Evaluation.NOT_DECIDABLE)
    frame = images.put(picture(1), inspection_id=part.inspection_id, role="frame", at=part.ended_at)
    with store.unit() as uow:
        uow.inspections.add(replace(part, images=(frame,)))
        uow.commit()
    store.close()
    gathered = gathered_from(tmp_path, accepted_too=True)
    assert (gathered.drafts, len(gathered.skipped)) == ([], 1)


# --- broken images, and what evaluates -------------------------------------------------------------------------------


def test_damaged_images_are_skipped_and_named(tmp_path: Path) -> None:
    whole = draw(tmp_path / "whole.png", 1)
    cut = put(tmp_path / "cut.jpg", draw(tmp_path / "x.jpg", 2).read_bytes()[:-200])
    text = put(tmp_path / "text.png", "no image")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    bad = [cut, text, put(tmp_path / "empty.png"), tmp_path / "loop.png", tmp_path / "zero.png", tmp_path]
    gathered = Gathered(kind="t", drafts=[draft(one) for one in [whole, *bad]], skipped=(), classes=())
    result = made(gathered, tmp_path / "d")
    assert [item.origin for item in result.dataset.items] == ["whole.png"]
    assert [one.file for one in result.skipped] == [path.name for path in bad]
    lines = [json.loads(line) for line in (tmp_path / "d" / "skipped.jsonl").read_text("utf-8").splitlines()]
    assert [set(line) for line in lines] == [{"file", "line", "value", "expected"}] * 6
    assert result.dataset.skipped == 6


def test_figures_are_measured_on_the_test_split(tmp_path: Path) -> None:
    splits = [Split.TRAIN, Split.VAL, Split.TEST]
    drafts = [draft(draw(tmp_path / f"{n}.png", n), box(), group=f"g{n}", split=splits[n]) for n in range(3)]
    data_set(tmp_path / "d", *drafts)
    assert [item.group for item in measured_items(tmp_path / "d")] == ["g2"]
    assert [item.group for item in measured_items(tmp_path / "d", split="val")] == ["g1"]
    assert [item.group for item in measured_items(tmp_path / "d", groups=["g0"])] == ["g0"]
    for more, why in ({"split": "x"}, "expected train, val, test"), ({"groups": ["g9"]}, "no such group"):
        with pytest.raises(ConfigError, match=why):
            measured_items(tmp_path / "d", **more)
    items = tmp_path / "d" / "items.jsonl"
    items.write_text(items.read_text().replace("spur", "open"))
    with pytest.raises(ConfigError, match="not the version"):
        measured_items(tmp_path / "d")


def test_images_without_a_place_for_the_defect_measure_no_detector(tmp_path: Path) -> None:
    data_set(tmp_path / "d", draft(draw(tmp_path / "1.png", 1), codes=("open",), split=Split.TEST))
    with pytest.raises(ConfigError, match="without a box"):
        measured_items(tmp_path / "d")
    with pytest.raises(ConfigError, match="needs boxes"):
        export.write(disk.read(tmp_path / "d"), tmp_path / "out", export.Form.yolo)
