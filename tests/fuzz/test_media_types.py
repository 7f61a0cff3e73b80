"""Media types as strangers write them: what is kept can be sent as a header and shown by no browser."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example
from hypothesis import strategies as st

from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index, InvalidManifest, parse_manifest
from tests.support.fuzz import fuzz

PIECES = st.sampled_from(
    [
        *'/+;,="\\ \t\r\n\x00\x7f\x85\u2028é.-_*',
        "application",
        "application/",
        "vnd.oci.image.manifest.v1",
        "+json",
        "text/html",
        "image/svg+xml",
        "charset=utf-8",
        "x" * 200,
        *sorted(mediatype.MANIFESTS),
    ]
)
TYPES = st.one_of(
    st.none(),
    st.lists(PIECES, max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.from_regex(r"application/[A-Za-z0-9.+-]{1,60}\+json", fullmatch=True),
)
BLOB = {"mediaType": mediatype.OCI_CONFIG, "digest": str(Digest.of(b"x")), "size": 1}
HEADER_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F)))


@fuzz(written=TYPES, declared=TYPES, inner=TYPES, artifact=TYPES, is_index=st.booleans())
@example("text/html", "text/html", None, None, False)
@example("application/x+json\r\n", "application/x+json\r\n", None, None, False)
@example(None, "application/x+json; charset=utf-8", "a/b", "c/d", True)
def test_a_manifest_is_refused_or_its_types_can_be_sent(
    written: str | None, declared: str | None, inner: str | None, artifact: str | None, is_index: bool
) -> None:
    blob = {**BLOB, "mediaType": inner or "a/b"}
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": written, "artifactType": artifact}
    document |= {"manifests": [blob]} if is_index else {"config": blob, "layers": [blob]}
    try:
        parsed = parse_manifest(json.dumps(document).encode(), declared)
    except InvalidManifest as refusal:
        words = f"{refusal.message} {refusal.hint or ''}"
    else:
        assert_manifest_type(parsed.media_type)
        if declared:
            assert parsed.media_type in {declared.partition(";")[0].strip(), written}
        kept = [parsed.artifact_type, *_inner_types(parsed)]
        assert all(text is None or (len(text) <= 255 and text.isascii()) for text in kept)
        words = " ".join(text or "" for text in kept)
    assert words.isprintable()


def _inner_types(parsed: Any) -> list[str]:
    entries = parsed.manifests if isinstance(parsed, Index) else (parsed.config, *parsed.layers)
    return [entry.media_type for entry in entries]


@fuzz(text=st.one_of(TYPES.filter(lambda text: text is not None), st.binary(max_size=60).map(repr)))
def test_only_json_of_an_application_is_a_manifests_type(text: str) -> None:
    if mediatype.may_be_manifest(text):
        assert_manifest_type(text)


def assert_manifest_type(text: str) -> None:
    assert set(text) <= HEADER_CHARACTERS - set(';,"=\\<>')
    assert text.startswith("application/")
    assert text.endswith("+json")
    assert len(text) <= 255
