"""Every check finds what was planted for it, and nothing on data without it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from edge_agent.adapters.cameras.image_file import decode
from edge_agent.cli import build
from edge_agent.commands.labelled import Selection, load
from edge_agent.datasets import checking, disk
from edge_agent.datasets.checks import disagreement, drift, leaks
from edge_agent.datasets.dataset import Box, Item, Split, version_of
from edge_agent.datasets.draft import Draft
from edge_agent.datasets.finding import Level
from edge_agent.datasets.looking import Look, dhash
from edge_agent.domain.distributions import psi
from edge_agent.domain.faults import ConfigError
from tests.fakes.pictures import SIZE_WH, box, data_set, draft, draw, picture, quiet, save

SPLITS = list(Split)


def sound(folder: Path, count: int = 12) -> list[Draft]:
    """Images that no check has anything to say about: distinct, two classes in every split, some good."""
    drafts = []
    for n in range(count):
        image = draw(folder / f"{n}.png", n)
        boxes = [box("spur"), box("open", (50, 30, 70, 44))] if n % 4 else []
        drafts.append(draft(image, *boxes, group=f"g{n}", split=SPLITS[n % 3]))
    return drafts


def look(folder: Path) -> checking.Checked:
    return checking.check(folder, decode, quiet)


def found(folder: Path) -> dict[str, int]:
    """Check to number of cases, without what small sets always have."""
    return {one.check: one.count for one in look(folder).findings if one.check not in {"balance.few_test_labels"}}


def checked(tmp_path: Path, *drafts: Draft, **wish: Any) -> dict[str, int]:
    data_set(tmp_path / "d", *drafts, **wish)
    return found(tmp_path / "d")


def test_sound_data_has_no_findings(tmp_path: Path) -> None:
    assert checked(tmp_path, *sound(tmp_path)) == {}


# --- files and version -----------------------------------------------------------------------------------------------


def break_file(how: Callable[[Path], object]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        how(folder / disk.read(folder).dataset.items[0].image)

    return act


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "how",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
        lambda path: draw(path, 77),
        loop,
        device,
    ],
    ids=["gone", "cut", "empty", "other", "loop", "device"],
)
def test_broken_and_exchanged_images(tmp_path: Path, how: Callable[[Path], object]) -> None:
    data_set(tmp_path / "d", *sound(tmp_path))
    break_file(how)(tmp_path / "d")
    assert found(tmp_path / "d") == {"files.broken": 1}


def test_a_broken_image_with_its_own_hash(tmp_path: Path) -> None:
    """A damaged file whose hash was recorded as it is: it must be decoded to be found."""
    dataset = data_set(tmp_path / "d", *sound(tmp_path))
    path = tmp_path / "d" / dataset.items[0].image
    path.write_bytes(path.read_bytes()[:-20])
    rewrite(tmp_path / "d", 0, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert found(tmp_path / "d") == {"files.broken": 1}


def test_a_broken_golden_image(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    dataset = data_set(tmp_path / "d", replace(drafts[0], golden=draw(tmp_path / "g.png", 50)), *drafts[1:])
    assert found(tmp_path / "d") == {}
    (tmp_path / "d" / str(dataset.items[0].golden)).write_bytes(b"x")
    assert found(tmp_path / "d") == {"files.broken": 1}


def rewrite(folder: Path, place: int, *, fix_version: bool = True, **changes: Any) -> None:
    """Change one item on disk."""
    loaded = disk.read(folder)
    items = list(loaded.dataset.items)
    items[place] = replace(items[place], **changes)
    version = version_of(loaded.dataset.classes, items) if fix_version else loaded.dataset.version
    disk.write(folder, replace(loaded.dataset, items=tuple(items), version=version), [])


@pytest.mark.parametrize("name", ["/etc/passwd", "../../../etc/passwd", "images/../../x.png", "a\u0000b"])
def test_items_do_not_reach_outside(tmp_path: Path, name: str) -> None:
    data_set(tmp_path / "d", *sound(tmp_path))
    rewrite(tmp_path / "d", 0, image=name)
    assert found(tmp_path / "d") == {"files.broken": 1}


def test_a_changed_label_is_another_version(tmp_path: Path) -> None:
    data_set(tmp_path / "d", *sound(tmp_path))
    rewrite(tmp_path / "d", 1, fix_version=False, boxes=(box("spur"),))
    assert found(tmp_path / "d") == {"version.differs": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"image": "x"}',
        b"[" * 100_000,
        b'{"image":"x","sha256":"%s","size_wh":[1,2],"group":"","split":"train","boxes":[{"code":"a","xyxy_px":[NaN,1,2,3]}]}'
        % (b"0" * 64),
        b'{"image":"x","sha256":"%s","size_wh":[1,2],"group":"","split":"train","boxes":[{"code":"a","xyxy_px":[1e99,1,2,3]}]}'
        % (b"0" * 64),
        b'{"image":"x","sha256":"%s","size_wh":[0,%s],"group":"","split":"train"}' % (b"0" * 64, b"9" * 400),
        b'{"image":"x","sha256":"%s","size_wh":[1,2],"group":"","split":"everything"}' % (b"0" * 64),
    ],
)
def test_lines_that_cannot_be_read_are_errors(tmp_path: Path, line: bytes) -> None:
    data_set(tmp_path / "d", *sound(tmp_path))
    items = tmp_path / "d" / "items.jsonl"
    items.write_bytes(items.read_bytes() + line + b"\n")
    one = next(one for one in look(tmp_path / "d").findings if one.check == "items.unreadable")
    assert (one.level, one.count, one.examples[0].where) == (Level.ERROR, 1, "items.jsonl:13")
    assert "expected" in one.examples[0].what


def test_texts_that_are_missing(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    drafts[0] = replace(drafts[0], label_source="")
    drafts[1] = replace(drafts[1], label_source="agent")
    got = checked(tmp_path, *drafts, licence="", privacy=" ")
    assert got == {"licence.missing": 1, "privacy.missing": 1, "labels.unsigned": 1, "labels.by_machine": 1}


def test_classes_that_nobody_declared(tmp_path: Path) -> None:
    assert checked(tmp_path, *sound(tmp_path), classes=("spur",)) == {"classes.unknown": 9}


# --- leaks -----------------------------------------------------------------------------------------------------------


def test_a_group_on_both_sides(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    drafts[0] = replace(drafts[0], group="g1")
    assert checked(tmp_path, *drafts) == {"leak.group": 1}


def test_a_test_group_in_training(tmp_path: Path) -> None:
    data_set(tmp_path / "d", *sound(tmp_path))
    loaded = disk.read(tmp_path / "d")
    disk.write(tmp_path / "d", replace(loaded.dataset, test_groups=("g0", "g2")), [])
    assert found(tmp_path / "d") == {"leak.test_group": 1}


def test_the_same_file_in_two_splits(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    (tmp_path / "copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    copy = replace(drafts[3], image=tmp_path / "copy.png", origin="copy.png", group="other", split=Split.TEST)
    assert checked(tmp_path, *drafts, copy) == {"duplicate.across_splits": 1, "duplicate.exact": 1}


def test_the_same_file_with_other_labels(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    got = checked(tmp_path, *drafts, replace(drafts[3], boxes=(box("open"),)))
    assert got == {"duplicate.other_labels": 1, "duplicate.exact": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p,
        lambda p: cv2.resize(p, (64, 43), interpolation=cv2.INTER_AREA),
        lambda p: cv2.convertScaleAbs(p, alpha=1.0, beta=15),
        lambda p: cv2.GaussianBlur(p, (3, 3), 0.8),
    ],
    ids=["re-encoded", "scaled", "brightened", "blurred"],
)
def test_a_near_copy_in_another_split(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    drafts = sound(tmp_path)
    save(tmp_path / "near.jpg", change(picture(3)))
    near = draft(tmp_path / "near.jpg", group="near", split=Split.VAL)
    data_set(tmp_path / "d", *drafts, near)
    one = next(one for one in look(tmp_path / "d").findings if one.check == "duplicate.near")
    assert (one.count, one.examples[0].where) == (1, "3.png")


def test_a_near_copy_in_the_same_split_is_no_leak(tmp_path: Path) -> None:
    save(tmp_path / "near.jpg", picture(3))
    near = draft(tmp_path / "near.jpg", group="near", split=Split.TRAIN)
    assert checked(tmp_path, *sound(tmp_path), near) == {}


def test_parts_of_one_product_are_no_near_copies(tmp_path: Path) -> None:
    """The same board, each with its own defect: alike, but not the same picture."""
    board = picture(5, (256, 256))
    drafts = []
    for n in range(6):
        part = board.copy()
        cv2.circle(part, (40 + 30 * n, 128), 9, 255 if n % 2 else 0, -1)
        drafts.append(draft(save(tmp_path / f"{n}.png", part), group=f"g{n}", split=SPLITS[n % 3]))
    data_set(tmp_path / "d", *drafts)
    assert "duplicate.near" not in found(tmp_path / "d")


def a_look(bits: Any, n: int, split: Split = Split.TRAIN) -> Look:
    item = Item(image="", sha256=f"{n:064x}", size_wh=SIZE_WH, group=str(n), split=split)
    return Look(item=item, dhash=np.asarray(bits, np.uint64), thumb=np.full((64, 64), 100, np.uint8))


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_bands_find_every_pair_that_comparing_all_with_all_would(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2, (4, 256), np.uint8)
    looks = []
    for n in range(24):
        bits = base[n % 4].copy()
        bits[rng.choice(256, rng.integers(0, most + 1), replace=False)] ^= 1
        looks.append(a_look(np.packbits(bits).view(np.uint64), n, SPLITS[n % 3]))
    expected = {
        (a.item.group, b.item.group)
        for i, a in enumerate(looks)
        for b in looks[i + 1 :]
        if a.item.split is not b.item.split and distance(a, b) <= leaks.MAX_BITS
    }
    assert {(a.item.group, b.item.group) for a, b, _ in leaks.near_pairs(looks)} == expected


def distance(a: Look, b: Look) -> int:
    assert a.dhash is not None
    assert b.dhash is not None
    return int(np.bitwise_count(a.dhash ^ b.dhash).sum())


def test_a_crowd_of_equal_hashes_is_bounded() -> None:
    """Blank images all have the same hash: the pairs are capped, not the memory exhausted."""
    looks = [a_look([0, 0, 0, 0], n, SPLITS[n % 2]) for n in range(800)]
    assert len(leaks.near_pairs(looks)) == leaks.MAX_CASES


def test_dhash_does_not_see_light() -> None:
    one = picture(1)
    assert (dhash(one) == dhash(cv2.convertScaleAbs(one, alpha=0.5))).all() or distance(
        a_look(dhash(one), 1), a_look(dhash(cv2.convertScaleAbs(one, alpha=0.5)), 2)
    ) <= leaks.MAX_BITS
    assert distance(a_look(dhash(one), 1), a_look(dhash(picture(2)), 2)) > 4 * leaks.MAX_BITS


def test_a_golden_image_on_both_sides(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    goldens = [draw(tmp_path / f"golden{n}.png", 60 + n) for n in range(3)]
    paired = [replace(one, golden=goldens[n % 3]) for n, one in enumerate(drafts)]
    assert checked(tmp_path, *paired) == {}
    crossed = [replace(paired[0], golden=goldens[1]), *paired[1:]]
    data_set(tmp_path / "e", *crossed)
    assert found(tmp_path / "e") == {"leak.golden": 1}


def test_defects_on_the_golden_image_itself(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    drafts[1] = replace(drafts[1], golden=drafts[1].image)
    assert checked(tmp_path, *drafts) == {"golden.is_the_image": 1}


def test_images_whose_group_nobody_knows(tmp_path: Path) -> None:
    drafts = [replace(one, group="") for one in sound(tmp_path)]
    assert checked(tmp_path, *drafts) == {"groups.unknown": 12}


# --- boxes and balance -----------------------------------------------------------------------------------------------

W, H = SIZE_WH


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(W + 1, 10, W + 20, 20)], {"boxes.outside": 1}),
        ([(-20, -20, -1, -1)], {"boxes.outside": 1}),
        ([(10, 10, 10, 20)], {"boxes.empty": 1}),
        ([(10, 20, 30, 10)], {"boxes.empty": 1}),
        ([(-5, 10, 20, 20)], {"boxes.beyond_edge": 1}),
        ([(80, 10, W + 0.4, 20)], {}),
        ([(10, 10, 12, 30)], {"boxes.tiny": 1}),
        ([(0, 0, W, H)], {"boxes.whole_image": 1}),
        ([(0, 0, W * 0.8, H * 0.8)], {"boxes.huge": 1}),
        ([(10, 10, 30, 30), (10, 10, 30, 30.5)], {"boxes.twice": 1}),
        ([(10, 10, 30, 30), (14, 10, 34, 30)], {}),
    ],
)
def test_boxes_that_cannot_be(
    tmp_path: Path, boxes: list[tuple[float, float, float, float]], expected: dict[str, int]
) -> None:
    drafts = sound(tmp_path)
    drafts[0] = replace(drafts[0], boxes=tuple(box("spur", one) for one in boxes))
    assert checked(tmp_path, *drafts) == expected


def test_two_classes_on_one_place(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    drafts[0] = replace(drafts[0], boxes=(box("spur"), box("open")))
    assert checked(tmp_path, *drafts) == {"boxes.two_classes": 1}


def test_classes_that_are_absent_or_rare(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    many = tuple(box("spur", (x, y, x + 5, y + 5)) for x in range(0, 80, 6) for y in range(0, 54, 6))
    drafts[3] = replace(drafts[3], boxes=many)
    test_less = [replace(d, boxes=d.boxes[:1]) if d.split is Split.TEST else d for d in drafts]
    data_set(tmp_path / "d", *test_less, classes=("spur", "open", "short"))
    got = {one.check: [case.where for case in one.examples] for one in look(tmp_path / "d").findings}
    assert got["balance.class_absent"] == ["open"]
    assert got["balance.class_without_label"] == ["short"]
    assert got["balance.rare_class"] == ["open"]


def test_no_test_split_and_no_good_image(tmp_path: Path) -> None:
    drafts = [replace(one, split=Split.TRAIN) for one in sound(tmp_path) if one.boxes]
    assert checked(tmp_path, *drafts) == {"balance.empty_split": 2, "balance.no_good_images": 1}


# --- odd labels and drift --------------------------------------------------------------------------------------------


def spots_and_bars(folder: Path, wrong: set[int]) -> list[Draft]:
    """Images with a disc and a bar each; in the wrong ones their labels are exchanged."""
    drafts = []
    for n in range(30):
        rng = np.random.default_rng(n)
        image = rng.integers(90, 110, (64, 96), np.uint8)
        cv2.circle(image, (20, 20), int(rng.integers(5, 8)), 220, -1)
        cv2.rectangle(image, (60, 30), (64, 30 + int(rng.integers(14, 22))), 220, -1)
        codes = ("bar", "disc") if n in wrong else ("disc", "bar")
        path = save(folder / f"{n}.png", image)
        drafts.append(
            draft(path, box(codes[0], (12, 12, 29, 29)), box(codes[1], (58, 28, 67, 54)), split=SPLITS[n % 3])
        )
    return drafts


def test_exchanged_labels_look_odd(tmp_path: Path) -> None:
    data_set(tmp_path / "d", *spots_and_bars(tmp_path, {4, 17}), classes=("disc", "bar"))
    one = next(one for one in look(tmp_path / "d").findings if one.check == "labels.look_odd")
    assert one.level is Level.NOTE
    assert {case.where for case in one.examples} == {"4.png", "17.png"}
    assert one.count == 4
    data_set(tmp_path / "right", *spots_and_bars(tmp_path, set()), classes=("disc", "bar"))
    assert "labels.look_odd" not in found(tmp_path / "right")


def test_classes_that_look_the_same_are_not_judged(tmp_path: Path) -> None:
    data_set(tmp_path / "d", *spots_and_bars(tmp_path, set(range(0, 30, 2))), classes=("disc", "bar"))
    assert "labels.look_odd" not in found(tmp_path / "d")


def test_too_few_crops_are_not_judged(tmp_path: Path) -> None:
    data_set(tmp_path / "d", *spots_and_bars(tmp_path, {2})[: disagreement.MIN_CROPS - 1], classes=("disc", "bar"))
    assert "labels.look_odd" not in found(tmp_path / "d")


def many(split: Split, count: int, brightness: float, side: float, seed: int) -> list[Look]:
    rng = np.random.default_rng(seed)
    looks = []
    for n in range(count):
        sides = rng.normal(side, 4, 2)
        boxes = tuple(Box(code=rng.choice(["a", "b"]), xyxy_px=(0, 0, abs(s), abs(s))) for s in sides)
        item = Item(image="", sha256="", size_wh=SIZE_WH, group=str(n), split=split, boxes=boxes)
        looks.append(Look(item=item, brightness=rng.normal(brightness, 8), sharpness=rng.normal(5, 1)))
    return looks


def test_drift_is_found_where_it_is_and_named() -> None:
    train = many(Split.TRAIN, 300, 120, 30, 1)
    val = many(Split.VAL, 120, 120, 30, 2)
    test = many(Split.TEST, 120, 150, 42, 3)
    shifts = drift.measure([*train, *val, *test])
    assert {(one.quantity, one.split) for one in shifts if one.psi > drift.PSI_CHANGED} == {
        ("brightness", Split.TEST),
        ("box size", Split.TEST),
    }
    assert [one.check for one in drift.check([*train, *val, *test])] == ["drift.changed"]


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_chance_alone_is_not_called_a_change(seed: int) -> None:
    looks = [*many(Split.TRAIN, 200, 120, 30, seed), *many(Split.TEST, 60, 120, 30, seed + 20_000)]
    assert [one for one in drift.check(looks) if one.check == "drift.changed"] == []


def test_a_changed_class_mix_is_drift() -> None:
    train, test = many(Split.TRAIN, 100, 120, 30, 1), many(Split.TEST, 100, 120, 30, 2)
    only_a = [
        replace(one, item=replace(one.item, boxes=tuple(replace(b, code="a") for b in one.item.boxes))) for one in test
    ]
    shifts = drift.measure([*train, *only_a])
    assert [one.quantity for one in shifts if one.psi > drift.PSI_CHANGED] == ["class mix"]


def test_psi_of_nothing_changed_is_zero() -> None:
    assert psi(np.array([50.0, 50]), np.array([500.0, 500])) == 0
    assert psi(np.array([90.0, 10]), np.array([500.0, 500])) == pytest.approx(0.859, abs=0.03)


# --- the command -----------------------------------------------------------------------------------------------------


def run(*words: object) -> Result:
    return CliRunner().invoke(build("data"), ["data", *(str(word) for word in words)], catch_exceptions=False)


def classes_in_folders(root: Path) -> Path:
    for n in range(12):
        draw(root / ("good" if n % 2 else "dent") / f"lot{n // 2}_{n}.png", n)
    return root


def test_import_check_and_page(tmp_path: Path) -> None:
    root = classes_in_folders(tmp_path / "parts")
    (root / "dent" / "<b>ours.txt").write_text("x")
    told = ["--licence", "own & <b>ours</b>", "--privacy", "none", "--group-by", "(lot[0-9]+)_", "--link"]
    done = run("import", root, tmp_path / "d", "--from", "folders", "--json", *told)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert sum(split["images"] for split in report["counts"].values()) == 12
    assert report["skipped"] == 1
    page = tmp_path / "page.html"
    done = run("check", tmp_path / "d", "--html", page, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["version"] == report["version"]
    assert answer["levels"]["error"] == 0
    text = page.read_text("utf-8")
    assert "own &amp; &lt;b&gt;ours&lt;/b&gt;" in text
    assert "<b>ours" not in text
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text


def test_errors_end_with_one_and_are_shown_with_pictures(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    drafts[0] = replace(drafts[0], origin="<img src=x>.png", boxes=(box("spur", (500, 10, 520, 30)),))
    drafts[1] = replace(drafts[1], group="g3")
    data_set(tmp_path / "d", *drafts)
    done = run("check", tmp_path / "d", "--html", tmp_path / "page.html")
    assert done.exit_code == 1
    assert "error    boxes.outside" in done.stdout
    assert "error    leak.group" in done.stdout
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 3
    assert "<img src=x>" not in text


def test_what_was_skipped_is_told(tmp_path: Path) -> None:
    root = classes_in_folders(tmp_path / "parts")
    (root / "good" / "bad.png").write_bytes(b"x")
    done = run("import", root, tmp_path / "d", "--from", "folders")
    assert "skipped  good/bad.png: " in done.stdout
    assert "1 skipped; all of them are in" in done.stdout
    assert "bad.png" in (tmp_path / "d" / "skipped.jsonl").read_text("utf-8")
    assert "source.skipped" in run("check", tmp_path / "d").stdout


def test_wrong_uses_are_configuration_errors(tmp_path: Path) -> None:
    for words, why in (
        (["import", tmp_path / "gone", tmp_path / "d", "--from", "yolo"], "nothing there"),
        (["import", tmp_path, tmp_path / "d", "--from", "store"], "holds no store"),
        (["check", tmp_path], "expected a data set"),
        (["export", tmp_path, tmp_path / "d", "--as", "coco"], "expected a data set"),
    ):
        with pytest.raises(ConfigError, match=why):
            run(*words)


def test_export_as_a_command(tmp_path: Path) -> None:
    data_set(tmp_path / "d", *sound(tmp_path))
    assert run("export", tmp_path / "d", tmp_path / "out", "--as", "yolo").exit_code == 0
    assert len(list((tmp_path / "out" / "labels").rglob("*.txt"))) == 12


def test_imported_sets_are_loaded_for_evaluation(tmp_path: Path) -> None:
    drafts = sound(tmp_path)
    drafts[2] = replace(drafts[2], golden=draw(tmp_path / "golden.png", 70))
    data_set(tmp_path / "d", *drafts)
    parts = list(load(str(tmp_path / "d"), Selection()))
    assert len(parts) == 4
    assert [part.golden is not None for part in parts] == [True, False, False, False]
    assert (parts[0].image == picture(2)).all()
    assert parts[0].truth == (("spur", (10, 10, 30, 24)), ("open", (50, 30, 70, 44)))
    assert len(list(load(str(tmp_path / "d"), Selection(split=Path("val"))))) == 4
    assert [part.truth for part in load(str(tmp_path / "d"), Selection(groups=("g0",)))] == [()]


@pytest.mark.integration
def test_the_page_as_pdf(tmp_path: Path) -> None:
    pypdf = pytest.importorskip("pypdf")
    data_set(tmp_path / "d", *sound(tmp_path), licence="")
    done = run("check", tmp_path / "d", "--pdf", tmp_path / "page.pdf")
    assert done.exit_code == 0, done.output
    text = "".join(page.extract_text() for page in pypdf.PdfReader(tmp_path / "page.pdf").pages)
    assert "licence.missing" in text
