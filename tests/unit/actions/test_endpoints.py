"""Places to copy between, as people write them."""

import pytest

from entrepot.actions.endpoints import InvalidEndpoint, parse_endpoint
from entrepot.actions.sync import InvalidList, Pair, read_list
from entrepot.oci.reference import InvalidReference

GOOD = [
    ("nginx", "docker", "docker.io/library/nginx", None, "nginx"),
    ("docker://localhost:5000/a/b:1", "docker", "localhost:5000/a/b:1", None, "localhost:5000/a/b:1"),
    ("store:nginx:1", "store", "docker.io/library/nginx:1", None, "nginx:1"),
    ("store:0123456789ab", "store", "docker.io/library/0123456789ab", None, "0123456789ab"),
    (f"store:sha256:{'0' * 64}", "store", None, None, f"sha256:{'0' * 64}"),
    ("oci:/tmp/x", "oci", None, "/tmp/x", ""),
    ("oci:x:1.2", "oci", None, "x", "1.2"),
    ("oci:x:localhost:5000/a:1", "oci", None, "x", "localhost:5000/a:1"),
    ("oci-archive:x.tar:v7", "oci-archive", None, "x.tar", "v7"),
    ("docker-archive:x.tar", "docker-archive", None, "x.tar", ""),
    ("docker-archive:x.tar:bb:1", "docker-archive", "docker.io/library/bb:1", "x.tar", "bb:1"),
    ("docker-archive:x.tar:@0", "docker-archive", None, "x.tar", "@0"),
    ("docker-daemon:bb:1", "docker-daemon", "docker.io/library/bb:1", None, "bb:1"),
    ("store/x", "docker", "docker.io/store/x", None, "store/x"),
]


@pytest.mark.parametrize(("text", "kind", "reference", "path", "name"), GOOD, ids=[case[0] for case in GOOD])
def test_endpoint_is_read(text: str, kind: str, reference: str | None, path: str | None, name: str) -> None:
    found = parse_endpoint(text)
    assert found.kind == kind
    assert (str(found.reference) if found.reference else None) == reference
    assert (str(found.path) if found.path else None) == path
    assert found.name == name


@pytest.mark.parametrize("text", ["oci:", "store:", "docker-daemon:"])
def test_endpoint_without_a_rest_is_refused(text: str) -> None:
    with pytest.raises(InvalidEndpoint, match="missing"):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["docker://", "docker://X", "UPPER", "../x", "--foo", "sha256:../../x"])
def test_k7_names_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_endpoint(text)


def test_another_tag_of_the_same_place() -> None:
    assert str(parse_endpoint("localhost:5000/a:1").with_tag("2")) == "docker://localhost:5000/a:2"
    assert str(parse_endpoint("oci:dir").with_tag("2")) == "oci:dir:2"


def test_list_has_a_pair_a_line() -> None:
    text = "# remark\n\ndocker://a:5000/x docker://b:5000/x '1.*' 2.0  # two patterns\nnginx oci:dir\n"
    assert read_list(text) == [
        Pair("docker://a:5000/x", "docker://b:5000/x", ("1.*", "2.0")),
        Pair("nginx", "oci:dir"),
    ]


@pytest.mark.parametrize("text", ["alone\n", "x 'open\n"])
def test_unreadable_line_is_named_by_its_number(text: str) -> None:
    with pytest.raises(InvalidList, match="line 1"):
        read_list(text)
