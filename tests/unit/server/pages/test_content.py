"""What comes out of images and READMEs: read as text, shown as text."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.control.queries.content import ManifestRow
from entrepot.server.control.queries.lists import Move
from entrepot.server.pages.kit.addresses import RepositoryPaths, repository
from entrepot.server.pages.kit.artifact_view import kind_of_referrer
from entrepot.server.pages.kit.comparison import compare_configs, compare_layers
from entrepot.server.pages.kit.image_view import (
    LayerView,
    choices_of,
    command_of,
    config_view,
    layer_views,
    pretty,
)
from entrepot.server.pages.kit.markdown import readme_html
from entrepot.server.pages.kit.moves import fold_moves

# X1: nothing of these may run, load or open anything.
EVIL = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&colon;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><script>1</script></svg>",
    "<a href='javascript:1'>x</a>",
    "[x]: javascript:alert(1)\n\n[x]",
    "<style>body{display:none}</style>",
    "<iframe srcdoc='<script>1</script>'></iframe>",
    "<form action=https://evil.example><button>x",
    "# <b onmouseover=alert(1)>x</b>",
    '[x](https://a.example "onclick=alert(1)")',
    "[x](vbscript:1) <math><mtext><script>1</script></math>",
    "<base href=https://evil.example>",
    '<https://a.example/"onmouseover=alert(1)>',
]
_TAG = re.compile(r"<\s*/?\s*([a-zA-Z0-9]+)([^>]*)>")
_ALLOWED = frozenset(
    {"a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"}
    | {"s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)


def assert_inert(html: str) -> None:
    for name, attributes in _TAG.findall(html):
        assert name in _ALLOWED, html
        for attribute, value in re.findall(r'([a-zA-Z-]+)="([^"]*)"', attributes):
            assert attribute in {"href", "title", "rel", "start"}, html
            if attribute == "href":
                assert not re.match(r"\s*(javascript|data|vbscript)", value, re.IGNORECASE), html


@pytest.mark.parametrize("number", range(len(EVIL)))
def test_readme_is_inert(number: int) -> None:
    assert_inert(readme_html(EVIL[number]))


@given(st.lists(st.sampled_from([*EVIL, "\n", "> ", "- ", "`", "**", "|a|b|\n|-|-|\n", "&lt;"]), max_size=6))
def test_readme_made_of_pieces_is_inert(pieces: list[str]) -> None:
    assert_inert(readme_html("".join(pieces)))


def test_readme_keeps_what_is_meant() -> None:
    html = readme_html("# Shop\n\nRun **it**:\n\n```\ndocker run x\n```\n\n[docs](https://docs.example)\n")
    assert "<h2>Shop</h2>" in html
    assert "<strong>it</strong>" in html
    assert 'href="https://docs.example" rel="noopener noreferrer nofollow"' in html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ("", "")),
        ("/bin/sh -c #(nop) ADD file:2c1e in / ", ("ADD", "file:2c1e in /")),
        ("RUN /bin/sh -c apt-get update # buildkit", ("RUN", "apt-get update")),
        ("/bin/sh -c make", ("RUN", "make")),
        ("COPY . /app # buildkit", ("COPY", ". /app")),
        ("bazel build ...", ("", "bazel build ...")),
    ],
)
def test_command_is_read_as_a_dockerfile_would_say_it(text: str | None, shown: tuple[str, str]) -> None:
    assert command_of(text) == shown


def test_layers_share_the_bytes_between_them() -> None:
    body = json.dumps(
        {"layers": [{"digest": f"sha256:{n}", "size": size} for n, size in enumerate((300, 0, 100))]}
    ).encode()
    config = {"history": [{"created_by": "ADD x"}, {"empty_layer": True}, {"created_by": "RUN y"}]}
    views = layer_views(body, config)
    assert [(v.start, v.width) for v in views] == [(0, 75), (75, 0), (75, 25)]
    assert [v.instruction for v in views] == ["ADD", "RUN", ""]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
        max_leaves=10,
    )
)
def test_configuration_of_any_shape_is_shown(value: object) -> None:
    for key in ("Env", "Entrypoint", "Labels", "ExposedPorts", "Healthcheck", "User"):
        config_view({"config": {key: value}, "os": value, "created": value})
    config_view({"config": value})


def layer(digest: str) -> LayerView:
    return LayerView(1, digest, 1, "", "", "", 0, 0)


def test_comparison_finds_the_common_bottom() -> None:
    pairs = compare_layers([layer(d) for d in "abc"], [layer(d) for d in "abxc"])
    assert [(p.kind, p.layer.digest) for p in pairs] == [
        ("same", "a"),
        ("same", "b"),
        ("added", "x"),
        ("same", "c"),
    ]


def test_comparison_of_settings_has_only_what_differs() -> None:
    first = config_view({"config": {"Env": ["A=1", "B=2"], "User": "root"}})
    second = config_view({"config": {"Env": ["A=1", "B=3"]}})
    assert [(d.name, d.before, d.after) for d in compare_configs(first, second)] == [
        ("User", "root", None),
        ("Environment B", "2", "3"),
    ]


def test_manifest_that_is_no_json_is_shown_as_it_is() -> None:
    assert pretty(b"{not json") == "{not json"
    assert pretty(b'{"a":1}') == '{\n  "a": 1\n}'
    assert pretty(b"x" * 300_000).endswith("…")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "routed"),
    [
        ("/repositories/acme/app", "/repositories/acme%2Fapp"),
        ("/repositories/acme/app/", "/repositories/acme%2Fapp"),
        ("/repositories/a/b/c/-/tags/v1", "/repositories/a%2Fb%2Fc/-/tags/v1"),
        ("/repositories/acme%2Fapp/-/undo", "/repositories/acme%2Fapp/-/undo"),
        ("/repositories", "/repositories"),
        ("/projects/acme/robots", "/projects/acme/robots"),
    ],
)
async def test_repository_names_are_one_segment_for_the_router(path: str, routed: str) -> None:
    seen = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        seen.append(scope["raw_path"])

    await RepositoryPaths(app)({"raw_path": path.encode(), "path": path}, None, None)  # type: ignore[arg-type]
    assert seen == [routed.encode()]


def test_address_of_a_repository_keeps_its_slashes() -> None:
    assert repository("acme/app", "tags", "v1.0_x") == "/repositories/acme/app/-/tags/v1.0_x"
    assert repository("acme/app", sort="name", page=None) == "/repositories/acme/app?sort=name"


def _index(*platforms: dict[str, str] | None) -> ManifestRow:
    children = [
        {"digest": f"sha256:{n:064x}", "size": 1, **({"platform": platform} if platform else {})}
        for n, platform in enumerate(platforms)
    ]
    body = json.dumps({"manifests": children}).encode()
    kind = "application/vnd.oci.image.index.v1+json"
    return ManifestRow(1, "sha256:1", kind, None, len(body), len(body), 1, "ci", None, body)


def test_each_platform_of_an_index_can_be_chosen() -> None:
    windows = {"os": "windows", "architecture": "amd64"}
    choices = choices_of(
        _index(
            {"os": "linux", "architecture": "arm", "variant": "v7"},
            {**windows, "os.version": "10.0.17763"},
            {**windows, "os.version": "10.0.20348"},
            None,
        )
    )
    assert [choice.platform for choice in choices] == [
        "linux/arm/v7",
        "windows/amd64 10.0.17763",
        "windows/amd64 10.0.20348",
        "unknown",
    ]
    assert len({choice.key for choice in choices}) == 4
    assert [choice.is_attestation for choice in choices] == [False, False, False, True]


def test_referrers_are_called_what_people_call_them() -> None:
    assert kind_of_referrer("application/spdx+json") == "SBOM (SPDX)"
    assert kind_of_referrer("application/vnd.dev.sigstore.bundle.v0.3+json") == "Signature (Sigstore bundle)"
    assert kind_of_referrer("application/x-own") == ""


def test_moves_of_one_person_in_one_repository_are_one() -> None:
    moves = [
        (seq, Move(repository, f"v{seq}", None, "sha256:1", 1, by))
        for seq, repository, by in ((5, "a/x", "ci"), (4, "a/x", "ci"), (3, "a/y", "ci"), (2, "a/x", "bob"))
    ]
    folded = [(move.tag, others) for move, others in fold_moves(moves)]
    assert folded == [("v5", 1), ("v3", 0), ("v2", 0)]
