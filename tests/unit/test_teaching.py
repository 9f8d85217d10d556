"""Teaching from good images: thresholds, Gaussians, the model's file."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.cameras.image_file import decode
from edge_agent.domain.faults import ConfigError
from edge_agent.simulation.surfaces import (
    DAMAGES,
    FLAWS,
    HIDDEN,
    MATERIALS,
    TEXTURES,
    Piece,
    render,
    shot,
    visibility,
)
from edge_agent.teaching.conformal import images_needed, threshold
from edge_agent.teaching.course import fit_course
from edge_agent.teaching.fusing import Fusion, learned_fusion
from edge_agent.teaching.gaussians import fit, lengths, whitened
from edge_agent.teaching.good_set import LEAST, read_good
from edge_agent.teaching.lesson import learn, score_of
from edge_agent.teaching.scorer import Surface, packed, regions, unpacked
from edge_agent.teaching.spoiling import SPOILERS, Spoilt, spoiled, spoilt_images, spoilt_number
from edge_agent.teaching.views import BLOCKS, STRIDES, finer_views, tone, views, working_size

# --- thresholds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rate"), [(100, 0.01), (99, 0.01), (200, 0.05), (30, 0.1), (19, 0.05)])
def test_good_parts_exceed_the_threshold_no_more_often_than_promised(n: int, rate: float) -> None:
    rng = np.random.default_rng(n)
    exceeded = []
    for _ in range(1_500):
        scores = rng.gamma(2.0, size=n + 1)
        exceeded.append(scores[-1] > threshold(list(scores[:-1]), rate).value)
    # Three standard errors of the simulation itself.
    assert np.mean(exceeded) <= rate + 3 * (rate * (1 - rate) / 1_500) ** 0.5


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=80), st.floats(0.001, 0.4))
@settings(max_examples=60, deadline=None)
def test_what_is_promised_is_what_the_ranks_allow(scores: list[float], rate: float) -> None:
    found = threshold(scores, rate)
    above = sum(score > found.value for score in scores)
    assert above <= rate * (len(scores) + 1) * (1 + 1e-9)
    if found.kept:
        assert len(scores) >= images_needed(rate)
        assert found.promised_rate <= rate * (1 + 1e-9)  # ranks are whole numbers, the rate is not
    else:
        assert found.value >= max(scores)
        assert found.promised_rate == pytest.approx(1 / (len(scores) + 1))


def test_a_stricter_rate_never_lowers_the_threshold() -> None:
    scores = list(np.random.default_rng(1).gamma(2.0, size=60))
    values = [threshold(scores, rate).value for rate in (0.3, 0.1, 0.05, 0.02, 0.01, 0.001)]
    assert values == sorted(values)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        threshold([1.0], rate)


@pytest.mark.parametrize(("rate", "expected"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.5, 1)])
def test_how_many_images_promise_a_rate(rate: float, expected: int) -> None:
    assert images_needed(rate) == expected
    assert threshold([1.0] * expected, rate).kept
    assert expected == 1 or not threshold([1.0] * (expected - 1), rate).kept


@given(st.floats(-50, 1e4), st.floats(-50, 1e4), st.floats(0.1, 20))
def test_scores_keep_the_order_of_distances(a: float, b: float, reject: float) -> None:
    assert score_of(reject, reject) == 0.5
    assert 0 <= score_of(a, reject) <= 1
    if a < b:
        assert score_of(a, reject) <= score_of(b, reject)


# --- Gaussians ------------------------------------------------------------------------------------------------------


def test_distances_are_those_of_each_blocks_own_covariance() -> None:
    rng = np.random.default_rng(3)
    images = rng.normal(size=(40, 4, 6, 3)).astype(np.float32) * np.array([1, 5, 0.2], np.float32)
    mean, whitening = fit(images, block=2)
    assert whitening.shape == (6, 3, 3)
    found = lengths(whitened(images[:5], mean, whitening, 2))
    y, x = 3, 4  # block row 1, block column 2: the last one
    away = images[2, y, x] - mean[y, x]
    assert found[2, y, x] == pytest.approx(float(np.linalg.norm(away @ whitening[5])), rel=1e-4)


def test_what_no_good_image_had_is_far_in_whatever_direction_it_lies() -> None:
    rng = np.random.default_rng(4)
    good = rng.normal(size=(60, 4, 4, 8)).astype(np.float32)
    good[..., 3] *= 0.1
    mean, whitening = fit(good, 1)
    usual = lengths(whitened(good, mean, whitening, 1)).max()
    for channel, step in ((0, 12.0), (3, 8.0)):
        strange = mean.copy()
        strange[1, 2, channel] += step
        far = lengths(whitened(strange[None], mean, whitening, 1))[0]
        assert far[1, 2] > usual
        assert far.argmax() == 1 * 4 + 2


def test_triangles_come_back_as_they_were() -> None:
    lower = np.tril(np.random.default_rng(0).normal(size=(5, 7, 7))).astype(np.float32)
    assert unpacked(packed(lower).astype(np.float32), 7) == pytest.approx(lower, rel=2e-3)


# --- views ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((256, 256), 384, (384, 384)),
        ((1024, 1024), 384, (384, 384)),
        ((1600, 400), 384, (768, 192)),
        ((64, 64), 384, (128, 128)),
        ((640, 480), 384, (448, 320)),
    ],
)
def test_the_working_size_keeps_shape_and_area(size: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    assert working_size(size, side) == expected


def taps(rng: np.random.Generator, side: int) -> list[np.ndarray]:
    return [rng.normal(size=(3, side // stride, side // stride)).astype(np.float32) for stride in STRIDES]


def test_every_view_fits_its_blocks() -> None:
    rng = np.random.default_rng(0)
    for side in (64, 128, 192):
        found = views(taps(rng, side), rng.integers(0, 256, (side, side, 3), np.uint8))
        found |= finer_views(taps(rng, side))
        assert set(found) == set(BLOCKS)
        for name, view in found.items():
            assert view.shape[0] % BLOCKS[name] == 0
            assert np.isfinite(view).all()


def test_a_slow_course_of_light_leaves_the_tone_as_it_was() -> None:
    flat = np.full((128, 128, 3), 120, np.uint8)
    slope = np.clip(flat + np.linspace(-20, 20, 128)[None, :, None], 0, 255).astype(np.uint8)
    spot = flat.copy()
    spot[48:80, 48:80] -= 20
    middle = (slice(2, 6), slice(2, 6))
    assert np.abs(tone(slope)[middle][..., -3]).max() < 1.5
    assert np.abs(tone(spot)[middle][..., -3]).max() > 5


def test_what_good_images_do_as_a_whole_is_taken_out_and_a_patch_stays() -> None:
    rng = np.random.default_rng(6)
    x = np.linspace(-1, 1, 16, dtype=np.float32)

    def lit() -> np.ndarray:
        turn = rng.uniform(0, 6)
        glint = 30 * np.sin(3 * x[:, None] + turn) * np.cos(2 * x[None, :] - turn)
        return (glint[:, :, None] + rng.normal(0, 0.3, (16, 16, 3))).astype(np.float32)

    course = fit_course(np.stack([lit() for _ in range(40)]))
    plain = lit()
    patched = plain.copy()
    patched[4:7, 9:12] += 3
    rest, with_patch = course.left_over(np.stack([plain, patched]))
    assert rest.shape == (16, 16, 9)
    assert np.abs(rest[..., :3]).max() < 2
    assert with_patch[5, 10, :3] - rest[5, 10, :3] == pytest.approx(np.full(3, 3), abs=0.6)


# --- a lesson -------------------------------------------------------------------------------------------------------


def a_lesson(strange: bool) -> tuple[Surface, float, float, list[float]]:
    rng = np.random.default_rng(8)

    def image() -> dict[str, np.ndarray]:
        return {name: rng.normal(size=(8, 8, 5)).astype(np.float32) for name in BLOCKS}

    lesson = learn((image() for _ in range(40)), rate=0.05)
    seen = image()
    if strange:
        seen["deep"][2:4, 2:4] += 9
    found = lesson.surface.distance(seen)
    boxes = regions(found, lesson.surface, (160, 80))
    return lesson.surface, found.value, lesson.reject, [boxes[0].xyxy_px[0], boxes[0].xyxy_px[1]]


def test_a_strange_image_is_rejected_and_its_place_named() -> None:
    _, value, reject, corner = a_lesson(strange=True)
    assert value > reject
    assert corner == [40.0, 20.0]


def test_a_good_image_is_not() -> None:
    _, value, reject, _ = a_lesson(strange=False)
    assert value < reject


def test_a_surface_survives_its_file() -> None:
    surface, *_ = a_lesson(strange=False)
    back = Surface.from_bytes(surface.as_bytes())
    seen = {name: np.ones((8, 8, 5), np.float32) for name in BLOCKS}
    assert back.distance(seen).value == pytest.approx(surface.distance(seen).value, rel=5e-3)


def test_spoilt_images_give_a_critic_and_weights_and_the_file_keeps_them() -> None:
    rng = np.random.default_rng(9)

    def image() -> dict[str, np.ndarray]:
        return {name: rng.normal(size=(8, 8, 5)).astype(np.float32) for name in BLOCKS}

    good = [image() for _ in range(30)]

    def spoilt(of: int) -> Spoilt:
        # This flaw moves one channel of two views, by less than the sum of all channels lets one see.
        where = np.zeros((64, 64), np.float32)
        where[16:32, 16:32] = 1
        changed = {name: view.copy() for name, view in good[of].items()}
        for name in ("thin", "deep"):
            changed[name][2:4, 2:4, 3] += 3
        return Spoilt(of=of, kind="dent", where=where, features=changed)

    lesson = learn(good, (spoilt(index) for index in range(30)), rate=0.05)
    fusion = lesson.surface.fusion
    assert fusion is not None
    assert fusion.names[fusion.weights[0].argmax()] == "thin.critic"
    like_it = [image() for _ in range(20)]
    for one in like_it:
        one["thin"][2:4, 2:4, 3] += 3
    found = [lesson.surface.distance(one) for one in like_it]
    assert np.mean([one.by_view["thin.critic"] for one in found]) > np.mean([one.by_view["thin"] for one in found])
    back = Surface.from_bytes(lesson.surface.as_bytes())
    assert back.distance(like_it[0]).value == pytest.approx(found[0].value, rel=2e-2)
    assert back.fusion is not None
    assert back.fusion.names == fusion.names


def test_what_was_taught_before_there_were_critics_still_counts_all_views_alike() -> None:
    before, *_ = a_lesson(strange=False)
    assert before.fusion is None
    assert all(view.heard is None for view in before.views.values())
    seen = {name: np.ones((8, 8, 5), np.float32) for name in BLOCKS}
    found = before.distance(seen)
    assert found.value == pytest.approx(np.mean(list(found.by_view.values())))


@given(st.lists(st.floats(-20, 500), min_size=3, max_size=3), st.floats(0.01, 50), st.integers(0, 2))
@settings(max_examples=50, deadline=None)
def test_a_view_that_says_more_never_lowers_the_whole(scores: list[float], more: float, index: int) -> None:
    names = ("a", "b", "c")
    weights = np.array([[0.5, 0.3, 0.2], [0.0, 0.1, 0.9]])
    fusion = Fusion(names=names, weights=weights, centre=np.array([0.1, 0.2]), spread=np.array([0.5, 0.7]))
    louder = [score + more * (place == index) for place, score in enumerate(scores)]
    before, after = (fusion.combined(dict(zip(names, values, strict=True))) for values in (scores, louder))
    assert after > before or after == pytest.approx(before, abs=1e-9)


def test_each_kind_of_flaw_has_the_views_that_see_it_and_none_counts_against() -> None:
    rng = np.random.default_rng(2)
    good, spoilt = rng.normal(size=(60, 3)), rng.normal(size=(80, 3))
    kinds = np.array(["line", "tinge"] * 40)
    spoilt[kinds == "line", 0] += 2
    spoilt[kinds == "tinge", 1] += 2
    spoilt[:, 2] -= 1
    fusion = learned_fusion(["a", "b", "c"], good, spoilt, kinds)
    assert fusion.weights.argmax(axis=1).tolist()[:2] == [0, 1]
    assert fusion.weights.min() >= 0
    assert fusion.weights.sum(axis=1) == pytest.approx(np.ones(3))
    assert np.median(fusion.of_many(spoilt)) > np.quantile(fusion.of_many(good), 0.8)


@pytest.mark.parametrize("kind", sorted(SPOILERS))
def test_a_good_image_is_spoiled_where_it_is_said_and_the_same_every_time(kind: str) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8), (5, 5), 0)
    changed, where = spoiled(image, np.random.default_rng(4), kind)
    again, _ = spoiled(image, np.random.default_rng(4), kind)
    assert np.array_equal(changed, again)
    moved = np.abs(changed.astype(int) - image).max(axis=2)
    assert moved[where > 0.5].mean() > 1.5
    assert moved[cv2.dilate(where, np.ones((25, 25))) < 0.02].max(initial=0) <= 2


@pytest.mark.parametrize("number", [5, 30, 70, 300])
def test_spoilt_images_are_spread_over_images_and_kinds(number: int) -> None:
    image = np.full((32, 32, 3), 128, np.uint8)
    made = [one.of for one in spoilt_images(number, lambda _: image, lambda picture: {})]
    counts = np.bincount(made, minlength=number)
    assert len(made) == spoilt_number(number)
    assert counts.max() - counts.min() <= 1


# --- the good images ------------------------------------------------------------------------------------------------


def write(folder: Path, number: int, *, shape: tuple[int, int] = (48, 64), seed: int = 0) -> None:
    for index in range(number):
        noise = np.random.default_rng(seed + index).integers(0, 256, shape, np.uint8)
        cv2.imwrite(str(folder / f"{seed:03d}-{index:03d}.png"), cv2.GaussianBlur(noise, (9, 9), 3))


def test_files_that_are_not_taken_are_named(tmp_path: Path) -> None:
    write(tmp_path, 8)
    (tmp_path / "torn.png").write_bytes((tmp_path / "000-000.png").read_bytes()[:200])
    (tmp_path / "copy.png").write_bytes((tmp_path / "000-001.png").read_bytes())
    write(tmp_path, 1, shape=(90, 60), seed=900)
    found = read_good(tmp_path, decode)
    assert len(found.images) == 8
    assert {path.name for path, _ in found.skipped} == {"torn.png", "copy.png", "900-000.png"}
    assert found.size_wh == (64, 48)


def test_the_hash_is_that_of_the_contents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, 6)
    (tmp_path / "b" / "000-000.png").rename(tmp_path / "b" / "zzz.png")
    assert read_good(tmp_path / "a", decode).sha256 == read_good(tmp_path / "b", decode).sha256
    (tmp_path / "b" / "zzz.png").unlink()
    assert read_good(tmp_path / "a", decode).sha256 != read_good(tmp_path / "b", decode).sha256


def test_too_few_images_are_refused_with_what_was_wrong(tmp_path: Path) -> None:
    write(tmp_path, LEAST - 1)
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"4 usable good images, at least 5.*\n  torn.png: "):
        read_good(tmp_path, decode)


def test_near_copies_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, 6)
    twin = cv2.imread(str(tmp_path / "000-002.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "twin.png"), cv2.add(twin, 1))
    (pair,) = read_good(tmp_path, decode).near
    assert {path.name for path in pair} == {"000-002.png", "twin.png"}


def test_of_many_images_some_are_taken_evenly(tmp_path: Path) -> None:
    write(tmp_path, 20)
    found = read_good(tmp_path, decode, most=5)
    assert [one.path.name for one in found.images] == [f"000-{index:03d}.png" for index in (0, 4, 8, 12, 16)]
    assert found.left_out == 15


# --- rendered surfaces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TEXTURES))
def test_surfaces_differ_and_repeat(name: str) -> None:
    texture = TEXTURES[name]
    first, again, other = (render(texture, np.random.default_rng(seed), side=64) for seed in (1, 1, 2))
    assert hashlib.sha256(first.pixels).digest() == hashlib.sha256(again.pixels).digest()
    assert (first.pixels != other.pixels).mean() > 0.2


@pytest.mark.parametrize("flaw", sorted(FLAWS))
def test_a_flaw_changes_the_image_where_its_mask_says(flaw: str) -> None:
    image = np.full((128, 128, 3), 0.5, np.float32)
    image += np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32)
    changed, mask = FLAWS[flaw](image, np.random.default_rng(5))
    moved = np.abs(changed - image).max(axis=2)
    assert moved[mask > 0.5].mean() > 0.02
    assert moved[cv2.dilate(mask, np.ones((41, 41))) == 0].max(initial=0) < 0.02


@pytest.mark.parametrize("name", sorted(MATERIALS))
def test_a_piece_is_the_same_with_and_without_its_damage(name: str) -> None:
    plain, again, other = (shot(Piece(material=name, number=number)) for number in (1, 1, 2))
    assert np.array_equal(plain, again)
    assert (plain != other).mean() > 0.2
    spoilt = shot(Piece(material=name, number=1, flaw="own"))
    assert 0 < (np.abs(spoilt.astype(int) - plain).max(axis=2) > 12).mean() < 0.2


@pytest.mark.parametrize("flaw", DAMAGES)
def test_damage_is_seen_on_paper_and_nothing_is_not(flaw: str) -> None:
    plain = shot(Piece(material="paper", number=3))
    assert visibility(shot(Piece(material="paper", number=3, flaw=flaw)), plain) > HIDDEN
    assert visibility(plain, plain) == 0


def test_tuned_families_are_not_reported() -> None:
    assert not set(TEXTURES) & set(MATERIALS)
    assert not set(FLAWS) & set(DAMAGES)
