"""Pixel formats of machine vision cameras."""

import numpy as np
import pytest

from edge_agent.adapters.cameras.pfnc import require, to_pixels
from edge_agent.domain.faults import ConfigError


@pytest.mark.parametrize(("name", "bits"), [("Mono10", 10), ("Mono12", 12), ("Mono14", 14), ("Mono16", 16)])
def test_full_scale_is_the_same_for_every_depth(name: str, bits: int) -> None:
    image = np.array([[0, 1, 2**bits - 1]], np.uint16)
    pixels = to_pixels(image, name)
    assert pixels.dtype == np.uint16
    assert pixels[0, 0] == 0
    assert pixels[0, 1] == 2 ** (16 - bits)
    assert pixels[0, 2] >> (16 - bits) == 2**bits - 1


def test_eight_bits_stay_as_they_are() -> None:
    image = np.array([[0, 7, 255]], np.uint8)
    assert to_pixels(image, "Mono8").tolist() == image.tolist()


def test_colours_become_bgr() -> None:
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert to_pixels(red, "RGB8").tolist() == [[[0, 0, 255]]]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="YUV422"):
        require("YUV422", camera_id="cam")
