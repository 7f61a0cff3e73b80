from pathlib import Path

import msgspec
import pytest

from entrepot.client.credentials import CredentialStore
from entrepot.client.errors import RegistryBlocked, SettingsInvalid
from entrepot.client.hosts import endpoint_for, is_loopback, locate, split_host
from entrepot.client.settings import ClientSettings, parse_containers_rules, parse_registries


def settings(ours: str = "", containers: str = "") -> ClientSettings:
    default, registries = parse_registries(ours, where="registries.toml")
    return ClientSettings(
        credentials=CredentialStore(docker_config=Path("/nonexistent/config.json")),
        default_registry=default,
        registries=registries,
        rules=parse_containers_rules(containers),
    )


def places(registry: str, repository: str, known: ClientSettings, **options: bool) -> list[str]:
    return [f"{one.endpoint.host}/{one.repository}" for one in locate(registry, repository, known, **options)]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("app.localhost", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("[fe80::1]", False),
        ("1270.0.0.1", False),
    ],
)
def test_this_machine_is_known_by_name(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["h:0", "h:65536", "h:x", "h:-1", "h:٣"])
def test_ports_are_numbers_in_range(host: str) -> None:
    with pytest.raises(SettingsInvalid):
        split_host(host)


def test_docker_hub_is_on_a_host_of_its_own() -> None:
    (found,) = locate("docker.io", "library/nginx", settings())
    assert found.endpoint.host == "registry-1.docker.io"
    assert found.endpoint.registry == "docker.io"
    assert found.endpoint.schemes == ("https",)
    assert "auth.docker.io" in found.endpoint.token_realms


def test_default_registry_redirects_docker_hub_only() -> None:
    known = settings('default-registry = "localhost:5000"')
    assert places("docker.io", "library/nginx", known) == ["localhost:5000/library/nginx"]
    assert places("quay.io", "a/b", known) == ["quay.io/a/b"]
    (found,) = locate("docker.io", "library/nginx", known)
    assert found.endpoint.registry == "localhost:5000", "the account of Docker Hub stays home"
    assert "auth.docker.io" not in found.endpoint.token_realms


def test_loopback_may_speak_plain_http_and_others_may_not() -> None:
    assert endpoint_for("localhost:5000", settings()).schemes == ("https", "http")
    assert endpoint_for("10.0.0.1:5000", settings()).schemes == ("https",)
    assert endpoint_for("10.0.0.1:5000", settings()).trust.verify


@pytest.mark.parametrize(
    ("key", "schemes", "verify"),
    [("insecure", ("https", "http"), False), ("plain-http", ("http",), True)],
)
def test_settings_of_a_registry_relax_its_transport(key: str, schemes: tuple[str, ...], verify: bool) -> None:
    found = endpoint_for("r.example", settings(f'[registry."r.example"]\n{key} = true'))
    assert (found.schemes, found.trust.verify) == (schemes, verify)
    assert endpoint_for("other.example", settings(f'[registry."r.example"]\n{key} = true')).trust.verify


def test_insecure_for_one_run_holds_for_all() -> None:
    found = endpoint_for("r.example", settings().with_insecure())
    assert (found.schemes, found.trust.verify) == (("https", "http"), False)


def test_mirrors_come_first_for_pulls_and_not_at_all_for_pushes() -> None:
    known = settings('[registry."docker.io"]\nmirrors = ["m1.example", "http://m2.example:81/hub"]')
    assert places("docker.io", "library/nginx", known) == [
        "m1.example/library/nginx",
        "m2.example:81/hub/library/nginx",
        "registry-1.docker.io/library/nginx",
    ]
    assert places("docker.io", "library/nginx", known, push=True) == ["registry-1.docker.io/library/nginx"]
    assert locate("docker.io", "library/nginx", known)[1].endpoint.schemes == ("http",)


def test_containers_rules_rewrite_mirror_and_relax() -> None:
    known = settings(
        containers="""
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "r.example/team"
location = "other.example/moved"
insecure = true
[[registry.mirror]]
location = "m.example/copy"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry]]
location = "r.example"
"""
    )
    assert places("r.example", "team/app", known) == ["m.example/copy/app", "other.example/moved/app"]
    assert places("r.example", "team/app", known, by_digest=True)[1] == "digests.example/app"
    assert places("r.example", "teams/app", known) == ["r.example/teams/app"]
    assert not locate("r.example", "team/app", known)[-1].endpoint.trust.verify


def test_wildcard_rules_match_hosts() -> None:
    known = settings(containers='[[registry]]\nprefix = "*.bad.example"\nblocked = true')
    with pytest.raises(RegistryBlocked, match="blocked"):
        locate("x.bad.example", "a", known)
    assert places("bad.example", "a", known) == ["bad.example/a"]


def test_blocked_registries_are_refused() -> None:
    with pytest.raises(RegistryBlocked):
        locate("r.example", "a", settings('[registry."r.example"]\nblocked = true'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "registries.toml"),
        ("unknown = 1", "unknown key 'unknown'"),
        ("default-registry = 1", "default-registry must be a host"),
        ('[registry."h"]\nmirror = []', "has no key 'mirror'"),
        ('[registry."h"]\nmirrors = "m"', "mirrors of .* must be a list of strings"),
        ('[registry."h"]\nmirrors = [1]', "mirrors of .* must be a list of strings"),
        ('[registry."h"]\ninsecure = "yes"', "insecure of .* must be true or false"),
        ("registry = 3", "registry must be tables"),
    ],
)
def test_mistakes_in_our_file_name_the_place(text: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        parse_registries(text, where="registries.toml")


def test_certificates_are_found_by_host_and_port(tmp_path: Path) -> None:
    folder = tmp_path / "r.example:5000"
    folder.mkdir()
    for name in ("ca.crt", "client.cert", "client.key", "alone.cert"):
        (folder / name).touch()
    known = msgspec.structs.replace(settings(), certificate_directories=(tmp_path,))
    found = endpoint_for("r.example:5000", known).trust
    assert found.ca_files == (folder / "ca.crt",)
    assert (found.client_certificate, found.client_key) == (folder / "client.cert", folder / "client.key")
    assert endpoint_for("r.example", known).trust.ca_files == ()


def test_proxies_come_from_the_environment(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "HTTPS_PROXY": "http://p:3128", "no_proxy": "a", "HTTP_PROXY": "q:80"}
    found = ClientSettings.load(env)
    assert found.proxies == {"https": "http://p:3128", "http": "http://q:80"}
    assert found.no_proxy == "a"
    assert "http" not in ClientSettings.load({**env, "REQUEST_METHOD": "GET"}).proxies


def test_all_files_are_optional_and_ours_is_read(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": "/nonexistent"}
    assert ClientSettings.load(env).default_registry is None
    (tmp_path / "entrepot").mkdir()
    (tmp_path / "entrepot" / "registries.toml").write_text('default-registry = "a.example"')
    assert ClientSettings.load(env).default_registry == "a.example"
    assert (
        ClientSettings.load({**env, "ENTREPOT_DEFAULT_REGISTRY": "b.example"}).default_registry == "b.example"
    )
