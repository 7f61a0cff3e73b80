"""Text is told from everything else, and compared line by line."""

import pytest

from entrepot.inventory.files.text import decode_text, unified


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", "ascii"),
        (b"plain\n", "ascii"),
        ("größe\n".encode(), "utf-8"),
        ("größe\n".encode("latin-1"), "latin-1"),
        ("\ufeffx".encode(), "utf-8-sig"),
        ("wide".encode("utf-16"), "utf-16"),
        (b"\x1b[31mred", "ascii"),
        (b"\x7fELF\x02\x01\x01\x00", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\x01\x02", None),
        (b"\xff\x9f", None),
    ],
)
def test_encodings(data: bytes, encoding: str | None) -> None:
    found = decode_text(data)
    assert (found[1] if found else None) == encoding


def test_a_character_cut_in_two_is_still_text() -> None:
    assert decode_text("ä".encode()[:1]) != ("", "utf-8")
    assert decode_text(b"a" + "ä".encode()[:1], cut=True) == ("a", "ascii")


def test_lines_that_differ() -> None:
    assert unified(b"1\n2\n", b"1\n3\n", "/f") == "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n"
    assert unified(b"\0", b"1", "/f") == ""
    assert unified(b"a\n" * 20_000, b"b\n" * 20_000, "/f") == ""
