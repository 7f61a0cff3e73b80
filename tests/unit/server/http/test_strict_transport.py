"""Which host names are told to be reached over TLS alone."""

import pytest

from entrepot.server.http.strict_transport import StrictTransport


@pytest.mark.parametrize(
    ("authority", "said"),
    [
        ("registry.example.org", True),
        ("registry.example.org:5000", True),
        ("localhost", False),
        ("LOCALHOST:5000", False),
        ("app.localhost", False),
        ("192.0.2.1:5000", False),
        ("[2001:db8::1]:5000", False),
    ],
)
def test_names_that_other_programs_share_are_left_alone(authority: str, said: bool) -> None:
    wanted = [(b"strict-transport-security", b"max-age=31536000")] if said else []
    assert list(StrictTransport(31536000).headers(authority)) == wanted


def test_it_can_be_switched_off() -> None:
    assert not StrictTransport(0).headers("registry.example.org")
