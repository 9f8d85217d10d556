"""Materials and parts made by other means than `textures`: (rng, (width, height), spoilt) to an image 0 to 1, BGR.

Spectral synthesis, point processes, height fields under a lamp, drawn parts and print. With ``spoilt`` the piece has
the fault of its own kind: print that is missing, a pad that is not there, a thread of another colour. The same stream
of numbers gives the same piece with and without it.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.simulation.surfaces.textures import Floats

Material = Callable[[np.random.Generator, tuple[int, int], bool], Floats]


def spectral(rng: np.random.Generator, size_wh: tuple[int, int], *, fall: float, stretch: float = 1.0) -> Floats:
    """Noise whose amplitude falls with the frequency to this power, drawn out along x; mean 0, deviation 1."""
    width, height = size_wh
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    radius = np.hypot(fx * stretch, fy)
    radius[0, 0] = 1.0
    waves = np.fft.rfft2(rng.standard_normal((height, width))) * np.maximum(radius, 1 / max(size_wh)) ** -fall
    waves[0, 0] = 0
    found = np.fft.irfft2(waves, s=(height, width))
    return np.asarray(found / (found.std() + 1e-9), np.float32)


def lit(height_px: Floats, azimuth: float, *, ambient: float = 0.45, gloss: float = 0.0) -> Floats:
    """A height field in pixels under a lamp from this direction: diffuse, and a highlight."""
    slope_x, slope_y = cv2.Sobel(height_px, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(height_px, cv2.CV_32F, 0, 1) / 8
    long = np.sqrt(slope_x**2 + slope_y**2 + 1)
    lamp = (0.6 * np.cos(azimuth), 0.6 * np.sin(azimuth), 0.8)
    diffuse = np.maximum((-slope_x * lamp[0] - slope_y * lamp[1] + lamp[2]) / long, 0)
    halfway = np.maximum((-slope_x * lamp[0] - slope_y * lamp[1] + lamp[2] + 1) / long / 1.9, 0)
    return np.asarray(ambient + (1 - ambient) * diffuse + gloss * halfway**24, np.float32)


def _plain(size_wh: tuple[int, int], bgr: tuple[float, float, float]) -> Floats:
    return np.full((size_wh[1], size_wh[0], 3), bgr, np.float32)


def _shaded(grey: npt.NDArray[np.floating], bgr: tuple[float, float, float]) -> Floats:
    return np.asarray(grey[:, :, None] * np.array(bgr, np.float32), np.float32)


def _written(ink: npt.NDArray[np.uint8], text: str, at: tuple[int, int], scale: float, thick: int) -> None:
    cv2.putText(ink, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)


def _sheet(size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """What is drawn on: OpenCV smooths edges in 8 bits only."""
    return np.zeros((size_wh[1], size_wh[0]), np.uint8)


def _share(sheet: npt.NDArray[np.uint8]) -> Floats:
    return np.asarray(sheet / np.float32(255), np.float32)


def _over(image: Floats, sheet: npt.NDArray[np.uint8], other: tuple[float, float, float] | float) -> Floats:
    cover = _share(sheet)[:, :, None]
    return np.asarray(image * (1 - cover) + cover * np.array(other, np.float32), np.float32)


def _moved(image: Floats, rng: np.random.Generator, *, px: float, degrees: float) -> Floats:
    """Placed not quite the same each time."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, degrees), 1 + rng.normal(0, 0.003))
    turn[:, 2] += rng.normal(0, px, 2)
    return np.asarray(
        cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def granite(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """Polished granite: grains of four minerals; spoilt: a vein."""
    width, height = size_wh
    grains = width * height // 70
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(0, height, grains), rng.integers(0, width, grains)] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    minerals = np.array([[0.6, 0.63, 0.66], [0.52, 0.56, 0.62], [0.46, 0.47, 0.5], [0.34, 0.35, 0.37]], np.float32)
    kind = rng.choice(4, int(labels.max()) + 1, p=[0.42, 0.28, 0.2, 0.1])
    image = minerals[kind[labels]] * (1 + 0.05 * spectral(rng, size_wh, fall=0.6)[:, :, None])
    own = rng.spawn(1)[0]
    if spoilt:
        vein = _sheet(size_wh)
        at, across = own.uniform(0.3, 0.7, 2), own.uniform(0, np.pi)
        far = 0.3 * np.array([np.cos(across) * width, np.sin(across) * height])
        ends = np.stack([at * size_wh - far, at * size_wh + far])
        cv2.line(vein, ends[0].astype(int).tolist(), ends[1].astype(int).tolist(), 150, 5, cv2.LINE_AA)
        image = _over(np.asarray(image, np.float32), vein, 0.75)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.float32)


def circuit(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """A green board, always the same one: traces, pads, print; spoilt: a trace is open or a pad is missing."""
    width, height = size_wh
    layout = np.random.default_rng(314)
    traces, pads, holes, print_ = (_sheet(size_wh) for _ in range(4))
    own = rng.spawn(1)[0]
    gone, open_ = int(own.integers(0, 14)) if spoilt else -1, own.random() < 0.5
    for index in range(14):
        x = round((index + 0.7) / 15 * width)
        bend, end = round(layout.uniform(0.25, 0.6) * height), round(layout.uniform(0.7, 0.95) * height)
        points = np.array([[x, round(0.1 * height)], [x, bend], [x + round(0.03 * width), bend + 12], [x + 11, end]])
        cv2.polylines(traces, [points], False, 255, 3, cv2.LINE_AA)
        if index == gone and open_:
            middle = round(own.uniform(0.15, 0.22) * height)
            cv2.line(traces, (x, middle), (x, middle + 9), 0, 5)
        for at in (points[0], points[-1])[index == gone and not open_ :]:
            cv2.circle(pads, at.tolist(), 6, 255, -1, cv2.LINE_AA)
            cv2.circle(holes, at.tolist(), 2, 255, -1, cv2.LINE_AA)
    for row, text in enumerate(("R12 C4", "U3  14-R", "TP1")):
        _written(print_, text, (round((0.1 + 0.3 * row) * width), round(0.55 * height)), 0.4, 1)
    image = _over(_plain(size_wh, (0.16, 0.32, 0.1)), traces, (0.22, 0.45, 0.18))
    image = _over(_over(image, pads, (0.55, 0.72, 0.78)), holes, 0.08)
    image = _over(image, print_, (0.85, 0.88, 0.88)) * (1 + 0.03 * spectral(rng, size_wh, fall=0.5)[:, :, None])
    return _moved(np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.float32), rng, px=0.8, degrees=0.25)


def tartan(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """A checked cloth of dyed yarns in 2/2 twill, cut anywhere; spoilt: an end or a pick of another colour."""
    width, height = size_wh
    dyes = np.array([[0.15, 0.2, 0.55], [0.2, 0.3, 0.12], [0.7, 0.75, 0.78], [0.35, 0.15, 0.1]], np.float32)
    sett = np.repeat([0, 1, 0, 2, 3, 1], [14, 10, 3, 2, 12, 6])
    yarn = 3
    warp, weft = (np.roll(np.resize(sett, side // yarn + 2), int(rng.integers(0, 47))) for side in size_wh)
    shade = [1 + rng.normal(0, 0.05, len(line)).astype(np.float32) for line in (warp, weft)]
    own = rng.spawn(1)[0]
    if spoilt:
        line, at = (warp, weft)[own.integers(0, 2)], int(own.integers(8, min(len(warp), len(weft)) - 8))
        line[at] = (line[at] + own.integers(1, 4)) % 4
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    wave = np.round(0.8 * spectral(rng, size_wh, fall=2.2)).astype(int)
    column, row = np.clip(x + wave, 0, width) // yarn, np.clip(y + wave, 0, height) // yarn
    over = (column + row) % 4 < 2
    colour = np.where(over[:, :, None], dyes[warp[column]], dyes[weft[row]])
    bright = np.where(over, shade[0][column], shade[1][row])
    round_ = 0.75 + 0.25 * np.sin(np.pi * (np.where(over, x, y) % yarn + 0.5) / yarn)
    hairy = 1 + 0.06 * spectral(rng, size_wh, fall=0.3)
    return np.asarray(colour * (bright * round_ * hairy)[:, :, None] + 0.04, np.float32)


def keycap(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """A moulded cover with a printed logo and a button, nearly in place; spoilt: the print has a gap."""
    width, height = size_wh
    shape = np.zeros((height, width), np.float32)
    cv2.rectangle(shape, (width // 8, height // 8), (width * 7 // 8, height * 7 // 8), 1.0, -1)
    cv2.circle(shape, (width * 3 // 10, height * 7 // 10), height // 10, 1.7, -1)
    dome = np.asarray(cv2.GaussianBlur(shape, (0, 0), 3), np.float32) * 8
    grain = spectral(rng, size_wh, fall=0.8) * 0.12
    image = _shaded(lit(dome + grain, -2.2 + rng.normal(0, 0.05), gloss=0.15) * 0.55, (0.9, 0.62, 0.4))
    ink = _sheet(size_wh)
    _written(ink, "ENVO", (round(width * 0.4), round(height * 0.45)), height / 260, 2)
    cv2.ellipse(ink, (width // 2, height * 3 // 10), (width // 9, height // 16), 20, 0, 300, 255, 3, cv2.LINE_AA)
    own = rng.spawn(1)[0]
    if spoilt:
        ys, xs = np.nonzero(ink > 128)
        pick = int(own.integers(0, len(xs)))
        cv2.circle(ink, (int(xs[pick]), int(ys[pick])), round(own.uniform(0.02, 0.05) * height), 0, -1)
    return _moved(_over(image, ink // 8 * 7, 0.92), rng, px=1.0, degrees=0.5)


def glass(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """Coated glass before a gradient of light, with reflections that wander; spoilt: a patch without coating."""
    width, height = size_wh
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    turn = rng.normal(0.5, 0.15)
    ramp = 0.5 + 0.22 * (x * np.cos(turn) + y * np.sin(turn))
    glow_at, glow_y = rng.normal(0.2, 0.25), rng.normal(-0.3, 0.2)
    glow = 0.12 * np.exp(-((x - glow_at) ** 2 + (y - glow_y) ** 2) / 0.3)
    grey = ramp + glow + 0.004 * spectral(rng, size_wh, fall=1.6) + 0.003 * rng.standard_normal((height, width))
    own = rng.spawn(1)[0]
    if spoilt:
        cx, cy = own.uniform(-0.6, 0.6, 2)
        edge = np.hypot(x - cx, y - cy) + 0.03 * spectral(own, size_wh, fall=1.8)
        grey = grey + 0.05 * np.clip((own.uniform(0.1, 0.2) - edge) * 25, 0, 1)
    return _shaded(grey.astype(np.float32), (1.0, 0.96, 0.88))


def rubber(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """Ribbed grey rubber, moulded, with a parting line; spoilt: a rib is torn."""
    width, height = size_wh
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    pitch = 16.0
    bend = 1.0 * spectral(rng, size_wh, fall=2.0)
    ribs = 2.5 * np.abs(np.sin(np.pi * (x + bend + rng.uniform(0, pitch)) / pitch))
    line = 1.5 * np.exp(-(((y - height * 0.5 + rng.normal(0, 2)) / 2) ** 2))
    own = rng.spawn(1)[0]
    if spoilt:
        cx, cy = own.uniform(0.2, 0.8) * width, own.uniform(0.15, 0.85) * height
        ribs = ribs * (1 - np.exp(-(((x - cx) / 9) ** 2) - ((y - cy) / own.uniform(9, 22)) ** 2))
    rough = 0.25 * spectral(rng, size_wh, fall=0.6)
    shade = lit((ribs + line + rough).astype(np.float32), rng.normal(0.4, 0.05), ambient=0.3, gloss=0.08)
    return _shaded(0.08 + 0.5 * shade, (1.0, 1.0, 1.0))


def paper(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """Recycled paper: fibres and flocks, some of them dark; spoilt: a thin place."""
    width, height = size_wh
    sheet = 0.78 + 0.015 * spectral(rng, size_wh, fall=1.0)
    for count, ink in ((width * height // 400, 0.05), (width * height // 4000, -0.15)):
        layer = _sheet(size_wh)
        for _ in range(count):
            ends = rng.uniform(0, 1, 2) * size_wh
            bend = np.cumsum(rng.normal(0, 5, (5, 2)), 0) + ends
            cv2.polylines(layer, [np.round(bend * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
        sheet = sheet + ink * _share(layer) * (0.6 + 0.4 * rng.random())
    own = rng.spawn(1)[0]
    if spoilt:
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        cx, cy = own.uniform(0.2, 0.8, 2) * size_wh
        reach = own.uniform(0.06, 0.12) * height
        sheet = sheet + 0.07 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * reach**2))
    return _shaded(np.asarray(sheet, np.float32), (0.82, 0.93, 1.0))


def nut(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """A hexagon nut on a dark belt, turned at will; spoilt: a corner is broken off."""
    width, height = size_wh
    unit = min(size_wh) / 2
    centre = np.array(size_wh) / 2 + rng.normal(0, 3, 2)
    angle = rng.uniform(0, np.pi / 3) + np.arange(6) * np.pi / 3
    corners = centre + 0.72 * unit * np.stack([np.cos(angle), np.sin(angle)], 1)
    drawn = _sheet(size_wh)
    own = rng.spawn(1)[0]
    cv2.fillConvexPoly(drawn, np.round(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    if spoilt:
        cv2.circle(drawn, corners[own.integers(0, 6)].astype(int).tolist(), round(own.uniform(0.1, 0.2) * unit), 0, -1)
    body = _share(drawn)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot(x - centre[0], y - centre[1]) / unit
    bore = np.clip((radius - 0.34) * unit / 2, 0, 1)
    thread = 0.12 * np.sin(radius * unit * 1.3) * (np.abs(radius - 0.36) < 0.05)
    ground = 0.012 * spectral(rng, size_wh, fall=0.2, stretch=6)
    face = lit(np.asarray(cv2.GaussianBlur(body * bore, (0, 0), 2), np.float32) * 7, rng.normal(0.8, 0.03), gloss=0.1)
    metal = (0.55 * face + thread + ground + 0.03 * spectral(rng, size_wh, fall=1.2)) * body * bore
    belt = (0.1 + 0.02 * spectral(rng, size_wh, fall=0.5)) * (1 - body * bore)
    return _shaded(np.asarray(metal + belt, np.float32), (0.95, 1.0, 1.0))


def nameplate(rng: np.random.Generator, size_wh: tuple[int, int], spoilt: bool) -> Floats:
    """Brushed sheet with a printed legend, nearly in place; spoilt: a digit is smeared or missing."""
    width, height = size_wh
    brush = 0.035 * spectral(rng, size_wh, fall=0.35, stretch=40) + 0.01 * spectral(rng, size_wh, fall=0.2)
    ink = _sheet(size_wh)
    for row, text in enumerate(("TYPE 7-204 B", "24 V   1.5 A", "IP 67  2024")):
        _written(ink, text, (round(0.12 * width), round((0.33 + 0.2 * row) * height)), height / 330, 2)
    corners = (round(0.06 * width), round(0.12 * height)), (round(0.94 * width), round(0.88 * height))
    cv2.rectangle(ink, corners[0], corners[1], 255, 2)
    own = rng.spawn(1)[0]
    if spoilt:
        ys, xs = np.nonzero(ink[: round(0.8 * height)] > 128)
        pick, reach = int(own.integers(0, len(xs))), round(0.045 * height)
        rows = slice(max(int(ys[pick]) - reach, 0), int(ys[pick]) + reach)
        columns = slice(max(int(xs[pick]) - reach, 0), int(xs[pick]) + reach)
        ink[rows, columns] = 0 if own.random() < 0.5 else cv2.GaussianBlur(ink[rows, columns], (0, 0), 6)
    printed = _moved(_share(ink), rng, px=1.0, degrees=0.3)
    return _shaded(np.asarray((0.62 + brush) * (1 - 0.8 * printed), np.float32), (1.0, 0.99, 0.97))


MATERIALS: dict[str, tuple[Material, tuple[int, int], bool]] = {
    "granite": (granite, (320, 320), False),
    "circuit": (circuit, (480, 360), False),
    "tartan": (tartan, (256, 256), False),
    "keycap": (keycap, (400, 320), False),
    "glass": (glass, (512, 384), False),
    "rubber": (rubber, (300, 300), True),
    "paper": (paper, (384, 384), False),
    "nut": (nut, (256, 256), True),
    "nameplate": (nameplate, (640, 480), True),
}
"""Material, size of its pictures, and whether the camera sees no colours."""
