"""Where training samples come from: rendered boards, DeepPCB's pairs, and defects drawn freehand onto either."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.adapters.detectors.prepare import grey, moved
from edge_agent.domain.recipe import ImageLimits
from edge_agent.inspecting.gate import Reference, gate
from edge_agent.simulation.boards import CODES, SIZE_PX, Imaging, Layout, Placement, layout, render
from training import augment, freehand
from training.augment import PAD_PX, Boxes, Crop, Scene

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image, its golden image, both (H, W) uint8, and (K, 5) boxes of class, x0, y0, x1, y1."""

    image: Image
    golden: Image
    boxes: Boxes


# --- DeepPCB --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """One DeepPCB pair on disk."""

    test: Path
    golden: Path
    labels: Path

    def load(self) -> Sample:
        """Decode; the boxes are DeepPCB's own."""
        lines = self.labels.read_text().split("\n")
        rows = [[int(value) for value in line.split()] for line in lines if line.strip()]
        boxes = np.array([[k - 1, x0, y0, x1, y1] for x0, y0, x1, y1, k in rows], np.float32).reshape(-1, 5)
        image, golden = cv2.imread(str(self.test), 0), cv2.imread(str(self.golden), 0)
        return Sample(image=np.asarray(image, np.uint8), golden=np.asarray(golden, np.uint8), boxes=boxes)


def deeppcb(root: Path, groups: list[str]) -> list[Pair]:
    """All pairs of these groups, in file order."""
    found = []
    for group in groups:
        for test in sorted((root / group).glob("*/*_test.jpg")):
            stem = test.name.removesuffix("_test.jpg")
            labels = test.parent.parent / f"{test.parent.name}_not" / f"{stem}.txt"
            found.append(Pair(test, test.parent / f"{stem}_temp.jpg", labels))
    return found


def registered(sample: Sample) -> Image:
    """The golden image stretched and moved to where the part is, as the station does it."""
    reference = Reference.of(sample.golden)
    quality = gate(sample.image, reference, ImageLimits())
    return moved(grey(reference.as_seen(quality)), quality.shift_xy_px)


@lru_cache(maxsize=1200)
def _scene(pair: Pair) -> Scene:
    """A pair as copper masks, registered as the station does it."""
    sample = pair.load()
    golden = registered(sample)
    copper = [(one < 128).astype(np.uint8) for one in (sample.image, golden)]
    return Scene(image=copper[0], golden=copper[1], boxes=sample.boxes)


# --- the simulated line ---------------------------------------------------------------------------------------------


def random_imaging(rng: np.random.Generator) -> Imaging:
    """From good to barely acceptable: jitter up to 4 px, light, focus, noise, dirt, JPEG."""
    rough = rng.random() < 0.3
    shift = rng.uniform(-4, 4, 2) if rough else rng.normal(0, 0.8, 2)
    return Imaging(
        shift_xy_px=(float(shift[0]), float(shift[1])),
        angle_deg=float(rng.normal(0, 0.15)),
        blur_px=float(rng.uniform(0, 1.6)),
        noise=float(rng.uniform(0, 8)),
        brightness=float(rng.uniform(-25, 25)),
        gain=float(rng.uniform(0.75, 1.2)),
        vignette=float(rng.uniform(0, 0.25)),
        jpeg=int(rng.integers(40, 96)) if rng.random() < 0.3 else None,
        dirt=int(rng.integers(0, 90)) if rng.random() < 0.7 else 0,
    )


def random_placements(rng: np.random.Generator, count: int) -> list[Placement]:
    """Defects of all classes, anywhere, of all sizes."""
    return [
        Placement(
            code=CODES[int(rng.integers(0, len(CODES)))],
            x_px=float(rng.uniform(0, 640)),
            y_px=float(rng.uniform(0, 640)),
            size_px=float(rng.uniform(6, 14) if rng.random() < 0.5 else rng.uniform(10, 36)),
        )
        for _ in range(count)
    ]


def rendered(board: Layout, rng: np.random.Generator, defects: int) -> Sample:
    """A board of the simulated line with its truth."""
    made = render(board, random_placements(rng, defects), random_imaging(rng), rng)
    boxes = np.array([[CODES.index(code), *box] for code, box in made.boxes], np.float32).reshape(-1, 5)
    return Sample(image=made.pixels, golden=board.golden(), boxes=boxes)


@lru_cache(maxsize=512)
def _train_layout(index: int) -> Layout:
    return layout(f"train-{index}")


LINE_IMAGES = 600
"""Rendering takes ten times as long as cutting a crop: these are rendered once and kept."""


@lru_cache(maxsize=LINE_IMAGES)
def _line_image(index: int, layouts: int) -> Sample:
    rng = np.random.default_rng([9_000, index])
    return rendered(_train_layout(index % layouts), rng, int(rng.integers(12, 28)))


# --- crops ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where samples come from.

    Attributes:
        pairs: real pairs, if any.
        real_share: share of the crops cut from them, with their own defects.
        template_share: share of the crops with freehand defects on their templates.
        line_share: share of the crops cut from images of the simulated line.
            The rest is freehand defects on rendered layouts.
        layouts: how many rendered layouts there are.
        grey_share: share of the freehand crops that are grey images; the others are black and white.
    """

    pairs: tuple[Pair, ...] = ()
    real_share: float = 0.0
    template_share: float = 0.0
    line_share: float = 0.25
    layouts: int = 400
    grey_share: float = 0.3

    def batch(self, rng: np.random.Generator, size_px: int, count: int) -> list[Crop]:
        """Square crops."""
        lines = int(rng.binomial(count, self.line_share))
        found = self._line(rng, size_px, lines) if lines else []
        while len(found) < count:
            found.append(self._crop(rng, size_px))
        return found

    def _line(self, rng: np.random.Generator, size_px: int, count: int) -> list[Crop]:
        sample = _line_image(int(rng.integers(0, LINE_IMAGES)), self.layouts)
        return [augment.cut_grey(sample.image, sample.golden, sample.boxes, size_px, rng) for _ in range(count)]

    def _layout(self, rng: np.random.Generator) -> Layout:
        return _train_layout(int(rng.integers(0, self.layouts)))

    def _crop(self, rng: np.random.Generator, size_px: int) -> Crop:
        choice = rng.random() * (1 - self.line_share)
        if self.pairs and choice < self.real_share + self.template_share:
            scene = _scene(self.pairs[int(rng.integers(0, len(self.pairs)))])
            if choice >= self.real_share:
                scene = Scene(image=scene.golden, golden=scene.golden, boxes=scene.boxes[:0])
            return self._finish(augment.window(scene, size_px + 2 * PAD_PX, rng), rng, choice >= self.real_share)
        copper = (self._layout(rng).copper > 127).astype(np.uint8)
        copper = augment.other_layout(copper, size_px + 2 * PAD_PX, rng)
        return self._finish(Scene(image=copper, golden=copper, boxes=np.zeros((0, 5), np.float32)), rng, drawn=True)

    def _finish(self, scene: Scene, rng: np.random.Generator, drawn: bool) -> Crop:
        """From copper to a crop of a picture: polarity, etching, defects, registration, light."""
        if rng.random() < 0.15:
            scene = augment.polarity(scene)
        if drawn or rng.random() < 0.15:
            scene = augment.etching(scene, rng)
        per_crop = (scene.golden.shape[0] / SIZE_PX) ** 2 * rng.uniform(15, 60)
        extra = int(rng.poisson(per_crop)) + 1 if drawn else int(rng.poisson(0.25 * per_crop))
        scene = draw_onto(scene, extra, rng)
        scene = augment.specks(scene, rng) if drawn or rng.random() < 0.3 else scene
        scene = augment.registration(scene, rng)
        scene = augment.orientation(scene, rng)
        return augment.light(scene, rng, grey=bool(rng.random() < (self.grey_share if drawn else 0.1)))


def draw_onto(scene: Scene, count: int, rng: np.random.Generator) -> Scene:
    """Freehand defects beside those that are there, never on them."""
    image, boxes = scene.image.copy(), list(scene.boxes)
    taken = np.zeros_like(image)
    for _, x0, y0, x1, y1 in scene.boxes.astype(int).tolist():
        taken[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
    for _ in range(count):
        drawn = freehand.draw(scene.golden, rng, CODES[int(rng.integers(0, len(CODES)))])
        if drawn is None:
            continue
        x0, y0, x1, y1 = drawn.xyxy_px
        margin = int(freehand.MARGIN_PX)
        around = np.s_[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]
        if taken[around].any():
            continue
        taken[around] = 1
        image[drawn.changed > 0] = drawn.value
        box = np.array([x0, y0, x1, y1]) + freehand.MARGIN_PX * np.array([-1, -1, 1, 1])
        boxes.append(np.array([CODES.index(drawn.code), *box], np.float32))
    found = np.stack(boxes) if boxes else np.zeros((0, 5), np.float32)
    return Scene(image=image, golden=scene.golden, boxes=found.astype(np.float32))
