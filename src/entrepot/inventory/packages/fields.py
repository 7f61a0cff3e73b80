"""`Key: value` paragraphs: Debian's control files, Python's METADATA, a jar's manifest."""

from __future__ import annotations

from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Paragraphs between empty lines; keys in lower case, the first of a repeated key, no folded lines."""
    for block in text.replace("\r\n", "\n").split("\n\n"):
        found = fields(block)
        if found:
            yield found


def fields(block: str) -> dict[str, str]:
    """One paragraph. Folded lines are left out: nothing that is asked for here is folded."""
    found: dict[str, str] = {}
    for line in block.split("\n"):
        if line[:1] in (" ", "\t", ""):
            continue
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.lower(), value.strip())
    return found


def as_text(data: bytes) -> str:
    """UTF-8, with what is none replaced: a name in another encoding is no reason to lose all packages."""
    return data.decode("utf-8", "replace")
