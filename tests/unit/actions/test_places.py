"""Where actions work when the caller does not say."""

from pathlib import Path

import pytest

from entrepot.actions.places import the_settings, the_store
from entrepot.images.store import ImageStore


def test_a_store_is_one_that_is_open_a_path_or_this_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ImageStore(tmp_path / "a")
    assert the_store(opened) is opened
    assert the_store(str(tmp_path / "b")).root == tmp_path / "b"
    monkeypatch.setenv("ENTREPOT_STORE", str(tmp_path / "c"))
    assert the_store(None).root == tmp_path / "c"
    assert list(tmp_path.iterdir()) == []


def test_settings_are_the_environments_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    found = the_settings(None)
    assert the_settings(found) is found
    assert the_settings(found, insecure=True) != found
