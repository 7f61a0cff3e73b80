"""Images that strangers made to break what shows them: pages, lists and answers go on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from entrepot.server.control import images
from entrepot.server.control.foreign import MAX_DEPTH, clean_text, read_object, short_text
from entrepot.server.pages.kit.comparison import compare_configs
from entrepot.server.pages.kit.image_view import command_of, config_view, layer_views, pretty
from entrepot.server.pages.kit.markdown import MAX_RENDERED, readme_html
from tests.support.fuzz import fuzz
from tests.support.images import digest_of
from tests.unit.server.api.conftest import Registry
from tests.unit.server.pages.conftest import registry, team, visit

__all__ = ["registry", "team"]

CONFIGS: dict[str, bytes] = {
    "half a surrogate pair": rb'{"os":"\ud800","config":{"Env":["A=\udc00"],"Labels":{"\ud800":"b"}}}',
    "control characters": rb'{"os":"linux\u0000\u001b[2J","history":[{"created_by":"a\u0000b"}]}',
    "numbers no answer can hold": b'{"os":"linux","created":' + b"9" * 5000 + b',"config":{"User":1e999}}',
    "no numbers": b'{"os":NaN,"created":Infinity,"config":{"User":-Infinity}}',
    "deep": b'{"os":"linux","config":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
    "deeper": b"[" * 100_000,
    "wide": json.dumps({"os": "linux", "config": {"Env": [f"A{n}=b" for n in range(20_000)]}}).encode(),
    "a long command": json.dumps(
        {"os": "l", "history": [{"created_by": "x" + " " * 400_000 + "y"}]}
    ).encode(),
    "other types": b'{"os":{},"architecture":[],"created":{},"config":[],"history":{},"rootfs":7}',
    "a time beyond the last": b'{"os":"linux","created":"9999-12-31T23:59:59-23:59"}',
    "other types inside": b'{"os":"l","config":{"Env":{},"Cmd":{},"Labels":[1],'
    b'"Entrypoint":[{}],"ExposedPorts":[],"Healthcheck":1},"history":[1,{"created_by":{"a":[]}}]}',
    "no object": b"[]",
    "not JSON": b"\xff\xfe",
    "too large": b'{"os":"linux","author":"' + b"a" * images.MAX_CONFIG_BYTES + b'"}',
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.anyio
async def test_no_configuration_breaks_a_page_a_list_or_an_answer(team: Registry, name: str) -> None:
    digest = await push_image(team, "acme/app", "odd", CONFIGS[name])
    person = await visit(team, "root")
    for path in (
        "/repositories/acme/app",
        "/repositories/acme/app/-/tags/odd",
        f"/repositories/acme/app/-/manifests/{digest}",
        "/repositories/acme/app/-/compare?from=odd&to=odd",
    ):
        answer = await person.get(path)
        assert answer.status_code == 200, path
        assert len(answer.content) < 500_000
    answer = await team.api("GET", f"/repositories/acme%2Fapp/manifests/{digest}", "root")
    assert answer.status_code == 200
    assert answer.json()["digest"] == digest


TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=20),
    st.sampled_from(["\ud800", "\0", "\x1b[2J", "x" * 5000, "linux", "amd64"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=20,
)
FIELDS = ["os", "architecture", "variant", "created", "author", "config", "history", "rootfs"]
INNER = ["Env", "Cmd", "Entrypoint", "Labels", "ExposedPorts", "Volumes", "User", "Healthcheck", "StopSignal"]
DOCUMENTS = st.builds(
    lambda outer, inner: {**outer, "config": inner},
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8),
    st.one_of(VALUES, st.dictionaries(st.sampled_from(INNER), VALUES, max_size=8)),
)


@fuzz(document=DOCUMENTS, ascii_only=st.booleans())
def test_whatever_a_configuration_says_the_view_is_text_that_can_be_sent(
    document: dict[str, Any], ascii_only: bool
) -> None:
    raw = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    config = read_object(raw)
    view = config_view(config)
    body = json.dumps({"layers": [{"digest": "sha256:a", "size": 1, "mediaType": 7}] * 3}).encode()
    layers = layer_views(body, config)
    compare_configs(view, view)
    for text in (view, layers, pretty(raw), json.dumps(config, ensure_ascii=False)):
        f"{text}".encode()
    assert "\x1b" not in f"{view}{layers}"


def test_texts_are_cut_and_cleaned_before_they_are_shown() -> None:
    assert len(short_text("x" * 2_000_000)) < 5_000
    assert clean_text("a\ud800\x1b\x9b\0b\n\tc") == "a\ufffd\ufffd\ufffd\ufffdb\n\tc"
    assert len(command_of("x" + " " * 2_000_000 + "y")[1]) < 5_000


def test_what_is_nested_deeper_than_the_limit_says_nothing() -> None:
    assert read_object(b"[" * 100_000) == {}
    found: Any = read_object(b'{"a":' * (MAX_DEPTH + 8) + b"1" + b"}" * (MAX_DEPTH + 8))
    depth = 0
    while isinstance(found, dict):
        found, depth = found["a"], depth + 1
    assert (found, depth) == (None, MAX_DEPTH)


def test_a_long_readme_is_shown_as_it_was_written_beyond_the_limit() -> None:
    page = readme_html("# Title\n\n" + "word " * 5 * MAX_RENDERED + "\n\n**end** <b>")
    assert "<h2>Title</h2>" in page
    assert "**end** &lt;b&gt;" in page


@pytest.mark.parametrize(
    "text", ["![a" * 8000, "|a" * 1000 + "\n" + "|-" * 1000 + "\n" + "|a\n" * 6000], ids=["links", "table"]
)
def test_a_readme_that_a_parser_would_be_slow_with_is_not_parsed(text: str) -> None:
    page = readme_html(text)
    assert page.startswith("<pre>")
    assert len(page) < 2 * len(text)


async def push_image(registry: Registry, repository: str, tag: str, config: bytes) -> str:
    """An image of no layers with this configuration; its digest."""
    blob = digest_of(config)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": blob,
                "size": len(config),
            },
            "layers": [],
        }
    ).encode()
    answer = await registry.call(
        "POST", f"/v2/{repository}/blobs/uploads/?digest={blob}", "root", content=config
    )
    assert answer.status_code == 201, answer.text
    answer = await registry.call(
        "PUT",
        f"/v2/{repository}/manifests/{tag}",
        "root",
        content=manifest,
        headers={"content-type": "application/vnd.oci.image.manifest.v1+json"},
    )
    assert answer.status_code == 201, answer.text
    return digest_of(manifest)
