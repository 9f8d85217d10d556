"""Images from outside: whole or refused, never half."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.adapters.cameras import image_file
from edge_agent.domain.faults import PartFault

KINDS = [".png", ".jpg", ".bmp", ".tiff"]


def picture(shape: tuple[int, ...] = (60, 80), dtype: type = np.uint8) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape)
    return cv2.GaussianBlur(noise.astype(dtype), (0, 0), 2)


def encoded(kind: str, image: np.ndarray | None = None) -> bytes:
    return cv2.imencode(kind, picture() if image is None else image)[1].tobytes()


def code_of(raw: bytes, **options: float) -> str:
    with pytest.raises(PartFault) as caught:
        image_file.decode(raw, name="x", **options)
    return caught.value.code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 3), (1, 1), (7, 5)])
def test_a_whole_image_is_decoded(kind: str, shape: tuple[int, ...]) -> None:
    image = picture(shape)
    decoded = image_file.decode(encoded(kind, image), name="x")
    assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
    if kind != ".jpg":
        assert np.array_equal(decoded, image)


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_sixteen_bits_stay_sixteen_bits(kind: str) -> None:
    image = picture(dtype=np.uint16)
    assert np.array_equal(image_file.decode(encoded(kind, image), name="x"), image)


@given(kind=st.sampled_from(KINDS), share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=150, deadline=None)
def test_no_beginning_of_an_image_passes(kind: str, share: float) -> None:
    """The first invariant for a file that is still being copied: a truncated JPEG is not grey at the bottom."""
    raw = encoded(kind)
    cut = raw[: int(len(raw) * share)]
    assert code_of(cut) in {"image.empty", "image.not_an_image", "image.truncated"}


@pytest.mark.parametrize("missing", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_missing_bytes_are_noticed(kind: str, missing: int) -> None:
    assert code_of(encoded(kind)[:-missing]) == "image.truncated"


def test_a_hole_in_the_middle_of_a_jpeg_is_noticed() -> None:
    """libjpeg only warns; a share that lost a block leaves zeros."""
    raw = bytearray(encoded(".jpg", picture((400, 400))))
    raw[len(raw) // 2 : len(raw) // 2 + 300] = bytes(300)
    assert cv2.imdecode(np.frombuffer(bytes(raw), np.uint8), cv2.IMREAD_UNCHANGED) is not None
    assert code_of(bytes(raw)) == "image.truncated"


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image() -> None:
    whole = encoded(".jpg")
    thumbnail = b"Exif\0\0" + whole
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    assert image_file.decode(with_thumbnail, name="x").shape == (60, 80)
    assert code_of(with_thumbnail[:-200]) == "image.truncated"


def test_a_changed_byte_in_a_png_is_noticed() -> None:
    raw = bytearray(encoded(".png"))
    raw[len(raw) // 2] ^= 0xFF
    assert code_of(bytes(raw)) == "image.truncated"


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_what_follows_the_end_does_not_matter(kind: str) -> None:
    assert image_file.decode(encoded(kind) + b"\0" * 512, name="x").shape == (60, 80)


def huge_png() -> bytes:
    """A header of 100 megapixels with no pixels behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    end = b"IEND"
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (body, end)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def huge(kind: str) -> bytes:
    """The header of a small file, changed to 10,000 x 10,000."""
    if kind == ".png":
        return huge_png()
    raw = bytearray(encoded(kind))
    if kind == ".jpg":
        at = raw.index(b"\xff\xc0")
        raw[at + 5 : at + 9] = struct.pack(">HH", 10_000, 10_000)
    elif kind == ".bmp":
        raw[18:26] = struct.pack("<ii", 10_000, 10_000)
    else:
        for tag in (256, 257):
            at = raw.index(struct.pack("<H", tag) + struct.pack("<H", 3)) if raw[:2] == b"II" else -1
            raw[at + 8 : at + 12] = struct.pack("<HH", 10_000, 0)
    return bytes(raw)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_megapixels_are_refused_without_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_called(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(image_file.cv2, "imdecode", not_called)
    monkeypatch.setattr(image_file, "_jpeg_damage", not_called)
    assert code_of(huge(kind)) == "image.too_large"


def test_the_limit_is_the_callers() -> None:
    assert code_of(encoded(".png"), max_megapixels=0.001) == "image.too_large"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "image.empty"),
        (b"hello, this is text", "image.not_an_image"),
        (b"%PDF-1.7", "image.not_an_image"),
        (bytes(4096), "image.not_an_image"),
        (b"\xff\xd8\xff", "image.truncated"),
        (b"BM", "image.truncated"),
        (b"II\x2a\x00", "image.truncated"),
        (b"\x89PNG\r\n\x1a\n", "image.truncated"),
    ],
)
def test_what_is_no_image_is_called_so(raw: bytes, code: str) -> None:
    assert code_of(raw) == code


@given(
    head=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0"]),
    rest=st.binary(max_size=400),
)
@settings(max_examples=200, deadline=None)
def test_garbage_behind_a_signature_is_a_part_fault(head: bytes, rest: bytes) -> None:
    assert code_of(head + rest).startswith("image.")


@pytest.mark.parametrize(
    "image",
    [picture().astype(np.float32), np.dstack([picture((60, 80, 3)), np.full((60, 80), 128, np.uint8)])],
    ids=["float", "half transparent"],
)
def test_other_depths_are_refused(image: np.ndarray) -> None:
    assert code_of(encoded(".tiff" if image.dtype == np.float32 else ".png", image)) == "image.depth"


def test_an_opaque_alpha_channel_is_dropped() -> None:
    colour = picture((60, 80, 3))
    opaque = np.dstack([colour, np.full((60, 80), 255, np.uint8)])
    assert np.array_equal(image_file.decode(encoded(".png", opaque), name="x"), colour)


def test_a_missing_file_is_a_part_fault(tmp_path: Path) -> None:
    with pytest.raises(PartFault) as caught:
        image_file.read_image(tmp_path / "no.png")
    assert caught.value.code == "image.missing"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(PartFault) as caught:
        image_file.read_image(tmp_path)
    assert caught.value.code == "image.unreadable"
