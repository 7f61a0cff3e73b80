"""A store, a registry and containers that are real, for one verb at a time."""

import uuid
from pathlib import Path

import pytest

from entrepot.actions.create import create_container
from entrepot.client.settings import ClientSettings
from entrepot.containers.options import CreateOptions
from entrepot.containers.records import Container
from entrepot.images.store import ImageStore
from tests.support.registry import our_registry
from tests.unit.images.makers import add_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.fixture
def settings(tmp_path: Path) -> ClientSettings:
    """Of a user who has none."""
    return ClientSettings.load({"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / ".docker")})


@pytest.fixture
def repository() -> str:
    """A repository of a real registry that is nobody else's."""
    return f"localhost:{our_registry()}/{uuid.uuid4().hex[:12]}/app"


@pytest.fixture
def container(store: ImageStore) -> Container:
    """`box`, of the image `app:1`: created, not started."""
    add_image(store, "app:1", layers=("base", "top"), Cmd=["/bin/app", "--serve"], Labels={"from": "image"})
    return create_container("app:1", options=CreateOptions(name="box", env=["A=1"]), store=store)
