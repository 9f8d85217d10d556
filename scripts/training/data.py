"""Training samples: rendered boards, DeepPCB pairs, and defects rendered onto DeepPCB's templates."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.simulation.boards import CODES, Imaging, Layout, Placement, layout, render

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image, its golden image, both (H, W) uint8, and (K, 5) boxes of class, x0, y0, x1, y1."""

    image: Image
    golden: Image
    boxes: Boxes


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
    """A rendered board with its truth."""
    made = render(board, random_placements(rng, defects), random_imaging(rng), rng)
    boxes = np.array([[CODES.index(code), *box] for code, box in made.boxes], np.float32).reshape(-1, 5)
    return vary(Sample(image=made.pixels, golden=board.golden(), boxes=boxes), rng)


def vary(sample: Sample, rng: np.random.Generator) -> Sample:
    """Ragged edges (etching is no printer) and binarised scans."""
    image, golden = sample.image, sample.golden
    if rng.random() < 0.35:
        image = ragged(image, float(rng.uniform(0.4, 1.8)), rng)
    if rng.random() < 0.4:
        threshold = float(image.mean()) * 0.3 + float(np.median([image.min(), image.max()])) * 0.7
        image = ((image > threshold) * np.uint8(255)).astype(np.uint8)
        golden = ((golden > 127) * np.uint8(255)).astype(np.uint8)
        if rng.random() < 0.5:
            image, golden = jpeg(image, 90), jpeg(golden, 90)
    return Sample(image=image, golden=golden, boxes=sample.boxes)


def jpeg(image: Image, quality: int) -> Image:
    """A lossy round trip."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)


def ragged(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Displace each pixel by a smooth random field, standard deviation ``strength`` pixels."""
    height, width = image.shape
    coarse = rng.standard_normal((2, height // 8, width // 8), dtype=np.float32) * np.float32(strength)
    dx, dy = (cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


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


@lru_cache(maxsize=1200)
def _template_layout(pair: Pair) -> Layout | None:
    golden = cv2.imread(str(pair.golden), 0)
    made = Layout(name=pair.golden.stem, copper=(255 - np.asarray(golden)).astype(np.uint8))
    return made if made.sites.fewest() >= 3 else None


def photometric(sample: Sample, rng: np.random.Generator) -> Sample:
    """A scan as another camera would have seen it; the golden image moves by a residual of the registration."""
    rough = rng.random() < 0.2
    shift = rng.uniform(-4, 4, 2) if rough else rng.normal(0, 0.6, 2)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    size = (sample.golden.shape[1], sample.golden.shape[0])
    golden = cv2.warpAffine(sample.golden, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    image = sample.image
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)))
        light = image * rng.uniform(0.7, 1.0) + rng.uniform(0, 40) + rng.standard_normal(image.shape, np.float32) * 4
        image = light.clip(0, 255).astype(np.uint8)
    return Sample(image=image, golden=np.asarray(golden, np.uint8), boxes=sample.boxes)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where samples come from: shares of real pairs and of rendering onto templates; the rest is rendered boards."""

    pairs: tuple[Pair, ...] = ()
    real_share: float = 0.0
    template_share: float = 0.0
    layouts: int = 400

    def sample(self, rng: np.random.Generator) -> Sample:
        """One full image."""
        choice = rng.random()
        if self.pairs and choice < self.real_share + self.template_share:
            pair = self.pairs[int(rng.integers(0, len(self.pairs)))]
            board = _template_layout(pair) if choice > self.real_share else None
            return photometric(pair.load(), rng) if board is None else rendered(board, rng, int(rng.integers(8, 18)))
        return rendered(self._layout(rng), rng, int(rng.integers(8, 20)))

    def _layout(self, rng: np.random.Generator) -> Layout:
        return _train_layout(int(rng.integers(0, self.layouts)))


@lru_cache(maxsize=512)
def _train_layout(index: int) -> Layout:
    return layout(f"train-{index}")


def crops(sample: Sample, size_px: int, rng: np.random.Generator, count: int) -> list[Sample]:
    """Square crops, turned and mirrored; a box belongs to a crop that holds its centre."""
    found = []
    height, width = sample.image.shape
    for _ in range(count):
        x, y = int(rng.integers(0, width - size_px + 1)), int(rng.integers(0, height - size_px + 1))
        boxes = sample.boxes.copy()
        boxes[:, 1:] -= np.array([x, y, x, y], np.float32)
        cx, cy = (boxes[:, 1] + boxes[:, 3]) / 2, (boxes[:, 2] + boxes[:, 4]) / 2
        boxes = boxes[(cx >= 0) & (cy >= 0) & (cx < size_px) & (cy < size_px)]
        boxes[:, 1:] = boxes[:, 1:].clip(0, size_px)
        image = sample.image[y : y + size_px, x : x + size_px]
        golden = sample.golden[y : y + size_px, x : x + size_px]
        found.append(_turned(image, golden, boxes, size_px, rng))
    return found


def _turned(image: Image, golden: Image, boxes: Boxes, size_px: int, rng: np.random.Generator) -> Sample:
    if rng.random() < 0.5:
        image, golden = image[:, ::-1], golden[:, ::-1]
        boxes = np.stack([boxes[:, 0], size_px - boxes[:, 3], boxes[:, 2], size_px - boxes[:, 1], boxes[:, 4]], axis=1)
    for _ in range(int(rng.integers(0, 4))):
        image, golden = np.rot90(image), np.rot90(golden)
        x0, y0, x1, y1 = boxes[:, 1:].T
        boxes = np.stack([boxes[:, 0], y0, size_px - x1, y1, size_px - x0], axis=1)
    return Sample(image=np.ascontiguousarray(image), golden=np.ascontiguousarray(golden), boxes=boxes)
