"""What no font can draw is named before a document shows boxes."""

import pytest

from edge_agent.adapters.documents.glyphs import Ranges, parse, undrawable

LISTED = ":charset=20-7e a0-17f\n:charset=4e00-4eff 2192\n:charset=100-2ff 4e80-4f10\n\n"


def fonts() -> Ranges:
    return parse(LISTED)


def test_ranges_are_joined() -> None:
    assert fonts() == ((0x20, 0x7E), (0xA0, 0x2FF), (0x2192, 0x2192), (0x4E00, 0x4F10))


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Ätzbad 50 °C", ""),
        ("open → short", ""),
        ("工 丁", "工"),
        ("אב אב", "אב"),
        ("zero\u200bwidth\u3000space\n", ""),
        ("", ""),
    ],
)
def test_characters_without_a_glyph_are_named_once(text: str, missing: str) -> None:
    assert undrawable(text, fonts) == missing


def test_nothing_is_said_where_fonts_cannot_be_asked() -> None:
    assert undrawable("工", lambda: None) == ""


def test_plain_text_asks_nobody() -> None:
    def ask() -> Ranges:
        raise AssertionError("asked")

    assert undrawable("Etchant 48.2 °C, µm, Łódź", ask) == ""
