"""Names of registries as `login` takes them; docker's rules for the password on stdin."""

import pytest

from entrepot.actions.login import registry_name, shown_registry
from entrepot.cli.commands.login import strip_line_end


@pytest.mark.parametrize(
    ("typed", "name"),
    [(None, "docker.io"), ("", "docker.io"), ("index.docker.io", "docker.io"), ("a:5000", "a:5000"),
     ("http://localhost:5000/v2/", "localhost:5000"), ("https://index.docker.io/v1/", "index.docker.io"),
     ("registry.example/team", "registry.example/team"), ("registry.example/", "registry.example")],
)  # fmt: skip
def test_registry_is_named_by_its_host(typed: str | None, name: str) -> None:
    assert registry_name(typed) == name


def test_hub_is_shown_by_its_old_address() -> None:
    assert shown_registry(None) == "https://index.docker.io/v1/"
    assert shown_registry("localhost:5000") == "localhost:5000"


@pytest.mark.parametrize(
    ("read", "password"),
    [
        ("pw\n", "pw"),
        ("pw\r\n", "pw"),
        ("pw\r", "pw"),
        ("pw", "pw"),
        (" p w \n", " p w "),
        ("pw\n\n", "pw\n"),
    ],
)
def test_one_line_end_is_taken_off_a_password(read: str, password: str) -> None:
    assert strip_line_end(read) == password
