"""Docker's reference rules: what names mean, and what is refused in which words (K7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.reference import (
    InvalidReference,
    InvalidRepositoryName,
    InvalidTag,
    Reference,
    parse_any_reference,
    parse_repository,
    parse_tag,
)

HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
DIGEST = f"sha256:{HEX}"
FORMAT = "invalid reference format"
UPPER = "invalid reference format: repository name ({}) must be lowercase"
LONG = "repository name must not be more than 255 characters"

# text, registry, repository, tag, familiar form
ACCEPTED = [
    ("busybox", "docker.io", "library/busybox", None, "busybox"),
    ("busybox:1.36", "docker.io", "library/busybox", "1.36", "busybox:1.36"),
    ("library/busybox", "docker.io", "library/busybox", None, "busybox"),
    ("docker.io/busybox", "docker.io", "library/busybox", None, "busybox"),
    ("index.docker.io/busybox", "docker.io", "library/busybox", None, "busybox"),
    ("registry-1.docker.io/busybox", "registry-1.docker.io", "busybox", None, "registry-1.docker.io/busybox"),
    ("docker.io:443/app", "docker.io:443", "app", None, "docker.io:443/app"),
    ("user/app", "docker.io", "user/app", None, "user/app"),
    ("a/b/c/d:t", "docker.io", "a/b/c/d", "t", "a/b/c/d:t"),
    ("docker.io/library/a/b", "docker.io", "library/a/b", None, "library/a/b"),
    ("library/a/b", "docker.io", "library/a/b", None, "library/a/b"),
    ("library", "docker.io", "library/library", None, "library"),
    ("localhost", "docker.io", "library/localhost", None, "localhost"),
    ("localhost/app", "localhost", "app", None, "localhost/app"),
    ("localhost:5000", "docker.io", "library/localhost", "5000", "localhost:5000"),
    ("localhost:5000/app:1", "localhost:5000", "app", "1", "localhost:5000/app:1"),
    ("host/app", "docker.io", "host/app", None, "host/app"),
    ("Host/app", "Host", "app", None, "Host/app"),
    ("HOST/app:1", "HOST", "app", "1", "HOST/app:1"),
    ("EXAMPLE.com/app", "EXAMPLE.com", "app", None, "EXAMPLE.com/app"),
    ("host:5000/app", "host:5000", "app", None, "host:5000/app"),
    ("host:99999/app", "host:99999", "app", None, "host:99999/app"),
    ("host:5000", "docker.io", "library/host", "5000", "host:5000"),
    ("example.com", "docker.io", "library/example.com", None, "example.com"),
    ("example.com/app", "example.com", "app", None, "example.com/app"),
    ("example.com:5000", "docker.io", "library/example.com", "5000", "example.com:5000"),
    (
        "127.0.0.1:5003/comps/prod/bb:1.15",
        "127.0.0.1:5003",
        "comps/prod/bb",
        "1.15",
        "127.0.0.1:5003/comps/prod/bb:1.15",
    ),
    ("[::1]:5000/app:1", "[::1]:5000", "app", "1", "[::1]:5000/app:1"),
    ("[::1]/app", "[::1]", "app", None, "[::1]/app"),
    ("xn--bcher-kva.example/app", "xn--bcher-kva.example", "app", None, "xn--bcher-kva.example/app"),
    ("foo_bar/app", "docker.io", "foo_bar/app", None, "foo_bar/app"),
    ("foo_bar.com/app:1", "", "foo_bar.com/app", "1", "foo_bar.com/app:1"),
    ("app:_x", "docker.io", "library/app", "_x", "app:_x"),
    ("app:X.Y_z-1", "docker.io", "library/app", "X.Y_z-1", "app:X.Y_z-1"),
    ("app:" + "a" * 128, "docker.io", "library/app", "a" * 128, "app:" + "a" * 128),
    ("a_b", "docker.io", "library/a_b", None, "a_b"),
    ("a__b", "docker.io", "library/a__b", None, "a__b"),
    ("a---b", "docker.io", "library/a---b", None, "a---b"),
    ("a.b", "docker.io", "library/a.b", None, "a.b"),
    (f"{HEX}:tag", "docker.io", f"library/{HEX}", "tag", f"{HEX}:tag"),
    (f"{HEX}/app", "docker.io", f"{HEX}/app", None, f"{HEX}/app"),
    (DIGEST, "docker.io", "library/sha256", HEX, f"sha256:{HEX}"),
    (HEX[:12], "docker.io", f"library/{HEX[:12]}", None, HEX[:12]),
    ("a" * 247, "docker.io", "library/" + "a" * 247, None, "a" * 247),
    ("example.com/" + "a" * 255, "example.com", "a" * 255, None, "example.com/" + "a" * 255),
]

REFUSED = [
    ("", FORMAT),
    ("/app", FORMAT),
    ("app/", FORMAT),
    ("a//b", FORMAT),
    ("docker.io/", FORMAT),
    ("::1/app", FORMAT),
    ("[fe80::1%eth0]:5000/app", FORMAT),
    ("host:port/app", FORMAT),
    ("host:/app", FORMAT),
    ("http://host/app", FORMAT),
    ("host/app?x", FORMAT),
    ("foo.bar-/app", FORMAT),
    ("foo.com./app", FORMAT),
    ("app:-x", FORMAT),
    ("app:.x", FORMAT),
    ("app:", FORMAT),
    ("a:b:c", FORMAT),
    ("app:a b", FORMAT),
    ("app .", FORMAT),
    ("app\n", FORMAT),
    ("app:1\n", FORMAT),
    ("app:" + "a" * 129, FORMAT),
    ("-app", FORMAT),
    ("app-", FORMAT),
    ("_app", FORMAT),
    ("a___b", FORMAT),
    ("a..b", FORMAT),
    ("a._b", FORMAT),
    ("../x", FORMAT),
    ("x/../y", FORMAT),
    ("--foo", FORMAT),
    ("app:../x", FORMAT),
    ("app@sha256:../../x", FORMAT),
    ("app:١", FORMAT),
    ("Busybox", UPPER.format("library/Busybox")),
    ("example.com/App", UPPER.format("App")),
    ("user/App", UPPER.format("user/App")),
    ("a" * 248, LONG),
    ("a" * 256, LONG),
    ("app:1@sha256:abc", FORMAT),
    (f"app@{HEX}", FORMAT),
    (f"app@{DIGEST}:1", FORMAT),
    (f"app@sha256:{HEX.upper()}", "invalid checksum digest format"),
    ("app@md5:d41d8cd98f00b204e9800998ecf8427e", "unsupported digest algorithm"),
    (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
]


def _id(value: object) -> str:
    return ascii(value)[:40]


@pytest.mark.parametrize(("text", "registry", "repository", "tag", "familiar"), ACCEPTED, ids=_id)
def test_names_are_completed_as_docker_does(
    text: str, registry: str, repository: str, tag: str | None, familiar: str
) -> None:
    reference = Reference.parse(text)
    assert reference == Reference(registry, repository, tag)
    assert reference.familiar() == familiar
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=_id)
def test_what_is_no_reference_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("digest", [DIGEST, "sha512:" + "ab" * 64])
@pytest.mark.parametrize("tag", [None, "1"])
def test_a_digest_may_follow_name_and_tag(digest: str, tag: str | None) -> None:
    text = f"host:5000/app{':' + tag if tag else ''}@{digest}"
    reference = Reference.parse(text)
    assert reference == Reference("host:5000", "app", tag, Digest.parse(digest))
    assert str(reference) == text


def test_the_default_tag_comes_only_when_asked_for() -> None:
    assert Reference.parse("nginx").tag is None
    assert Reference.parse("nginx").with_default_tag().familiar() == "nginx:latest"
    assert Reference.parse(f"nginx@{DIGEST}").with_default_tag().tag is None
    assert str(Reference.parse("nginx").with_default_tag()) == "docker.io/library/nginx:latest"


def test_tag_and_digest_are_replaced_alone() -> None:
    reference = Reference.parse(f"nginx:1@{DIGEST}")
    assert reference.with_tag("2").familiar() == f"nginx:2@{DIGEST}"
    assert reference.with_digest(None).familiar() == "nginx:1"
    with pytest.raises(InvalidReference):
        reference.with_tag("../x")


def test_ids_and_digests_are_read_where_they_may_stand() -> None:
    assert parse_any_reference(HEX) == Digest("sha256", HEX)
    assert parse_any_reference(DIGEST) == Digest("sha256", HEX)
    assert parse_any_reference("nginx") == Reference("docker.io", "library/nginx")


@pytest.mark.parametrize("fields", [("../x", "a"), ("host", "../a"), ("host", "a", "../t"), ("a b", "c")])
def test_a_reference_is_valid_by_construction(fields: tuple[str, ...]) -> None:
    with pytest.raises(InvalidReference):
        Reference(*fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a", "a/b/c", "a.b_c__d--e/0", "x" * 255])
def test_repository_names_of_the_specification_pass(text: str) -> None:
    assert parse_repository(text) == text


@pytest.mark.parametrize("text", ["", "A", "a/", "/a", "a//b", "..", "a/../b", "a\n", "-a", "x" * 256, "a:b"])
def test_other_repository_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidRepositoryName):
        parse_repository(text)


@pytest.mark.parametrize("text", ["latest", "_", "1.0-rc.1", "A" * 128])
def test_tags_of_the_specification_pass(text: str) -> None:
    assert parse_tag(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", "-x", "a/b", "a b", "a\n", "A" * 129, "é", DIGEST])
def test_other_tags_are_refused(text: str) -> None:
    with pytest.raises(InvalidTag):
        parse_tag(text)


_component = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
_path = st.lists(_component, min_size=1, max_size=4).map("/".join)
_registry = st.sampled_from(["docker.io", "localhost", "localhost:5000", "ghcr.io", "[::1]:80", "HOST"])
_tag = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
_digest = st.none() | st.binary(max_size=4).map(Digest.of)


@given(_registry, _path, _tag, _digest)
def test_printed_references_parse_to_themselves(
    registry: str, path: str, tag: str | None, digest: Digest | None
) -> None:
    repository = f"library/{path}" if registry == "docker.io" and "/" not in path else path
    reference = Reference(registry, repository, tag, digest)
    assert Reference.parse(str(reference)) == reference


@given(_path, _tag, _digest)
def test_the_familiar_form_means_the_same(path: str, tag: str | None, digest: Digest | None) -> None:
    reference = Reference("docker.io", f"library/{path}", tag, digest)
    familiar = reference.familiar()
    if tag or digest or len(familiar) != 64:  # sixty-four hex digits alone are an ID
        assert Reference.parse(familiar) == reference


@given(st.text(max_size=60) | st.text("aA0./:@_-[]% \n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidInput:
        return
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.repository
