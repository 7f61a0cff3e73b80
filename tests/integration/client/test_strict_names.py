"""K7: names from outside become paths and URLs only after one strict parser."""

import pytest

from entrepot.client.errors import DestinationForbidden
from entrepot.client.hosts import RegistryHost
from entrepot.client.registry import Registry
from entrepot.client.settings import ClientSettings
from entrepot.errors import InvalidInput
from tests.integration.client.conftest import repository_of
from tests.support.lying_registry import Reply, lying_registry

BAD_NAMES = ["../up", "a/../b", "A", "a//b", "a?x=1", "a#b", "a b", "", "--foo", "a/%2e%2e", "a\r\nX: y"]
BAD_TAGS = ["../x", "a/b", "", ".x", "-x", "a?b", "a\r\nHost: evil", "x" * 129, "sha256:../../x"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_k7_only_repository_names_reach_the_wire(name: str, settings: ClientSettings) -> None:
    with lying_registry(lambda _: Reply(200)) as registry:
        with pytest.raises(InvalidInput):
            Registry(registry.host, settings=settings).repository(name)
        assert registry.requests == []


@pytest.mark.parametrize("tag", BAD_TAGS)
def test_k7_only_tags_reach_the_wire(tag: str, settings: ClientSettings) -> None:
    with lying_registry(lambda _: Reply(200)) as registry:
        repository = repository_of(registry, settings)
        for act in (repository.get_manifest, repository.find_manifest, repository.delete_tag):
            with pytest.raises(InvalidInput):
                act(tag)
        assert [one.path for one in registry.requests] == ["/v2/"]


@pytest.mark.parametrize("host", ["h/../x", "h@evil", "user:pw@h", "h:x", "h h", "h?x"])
def test_k7_only_hosts_are_connected_to(host: str, settings: ClientSettings) -> None:
    with pytest.raises((InvalidInput, DestinationForbidden)):
        Registry(host, settings=settings, endpoint=RegistryHost("r", host, ("http",))).ping()
