import pytest

from entrepot.client.errors import DestinationForbidden
from entrepot.client.transport import Origin, proxy_for


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://A.example/x", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("http://a.example:443/", "a.example:443"),
        ("http://[::1]:5000/v2/", "[::1]:5000"),
    ],
)
def test_origins_are_scheme_host_and_port(url: str, host: str) -> None:
    assert Origin.of(url).host == host


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "//a.example/x",
        "http:///x",
        "http://u:p@a/x",
        "http://a:99999/",
        "x",
        "http://[::1/",
    ],
)
def test_k4_other_urls_have_no_origin(url: str) -> None:
    with pytest.raises(DestinationForbidden) as caught:
        Origin.of(url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://a.example/", "a.example", True),
        ("https://a.example/", "A.Example:443", True),
        ("https://a.example:444/", "a.example", False),
        ("https://a.example.evil/", "a.example", False),
    ],
)
def test_hosts_are_compared_with_their_ports(origin: str, host: str, same: bool) -> None:
    assert Origin.of(origin).is_host(host) is same


@pytest.mark.parametrize(
    ("url", "no_proxy", "used"),
    [
        ("https://a.example/", "", True),
        ("http://a.example/", "", False),
        ("https://localhost:5000/", "", False),
        ("https://127.0.0.1/", "", False),
        ("https://a.example/", "*", False),
        ("https://a.example/", "example", False),
        ("https://a.example/", ".a.example", False),
        ("https://b.example/", "a.example", True),
        ("https://nota.example/", "a.example", True),
        ("https://a.example:444/", "a.example:443", True),
        ("https://a.example:443/", "a.example:443", False),
        ("https://10.1.2.3/", "10.0.0.0/8", False),
        ("https://11.1.2.3/", "10.0.0.0/8, 12.0.0.0/8", True),
    ],
)
def test_proxies_are_passed_by_as_no_proxy_says(url: str, no_proxy: str, used: bool) -> None:
    assert (proxy_for(Origin.of(url), {"https": "http://p"}, no_proxy) is not None) is used
