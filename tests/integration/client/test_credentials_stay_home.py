"""K5: passwords and tokens go to the registry, or to a token server its user named. Nowhere else."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.client.errors import AccessDenied, DestinationForbidden, RegistryMisbehaved
from entrepot.client.settings import ClientSettings
from entrepot.errors import EntrepotError
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest
from tests.integration.client.conftest import repository_of, routes
from tests.support.lying_registry import LyingRegistry, Reply, Request, lying_registry, server_certificate

DATA = b"layer" * 1000
BLOB = Descriptor(mediatype.OCI_LAYER, Digest.of(DATA), len(DATA))
MANIFEST = build_manifest(Descriptor(mediatype.OCI_CONFIG, Digest.of(b"{}"), 2), [BLOB])
SERVED = Reply(200, {"Content-Type": mediatype.OCI_MANIFEST}, MANIFEST.raw)
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
WithAccount = Callable[..., ClientSettings]


def token_of(request: Request) -> Reply:
    """A token server's answer that tells what it was asked."""
    asked = request.query.get("scope", [])
    return Reply(200, body=json.dumps({"token": "t-" + "+".join(asked), "expires_in": 300}).encode())


def bearer(realm: str, inner: Callable[[Request], Reply] = lambda _: SERVED) -> Callable[[Request], Reply]:
    """A registry that wants tokens from `realm`."""

    def answer(request: Request) -> Reply:
        if request.path == "/token":
            return token_of(request)
        if not (request.authorization or "").startswith("Bearer t-"):
            challenge = f'Bearer realm="{realm}",service="s",scope="repository:team/app:pull"'
            return Reply(401, {"WWW-Authenticate": challenge})
        return inner(request)

    return answer


def secrets_seen(registry: LyingRegistry) -> list[str]:
    return [one.authorization for one in registry.requests if one.authorization]


def test_the_password_goes_to_a_token_server_on_the_registry(with_account: WithAccount) -> None:
    realm: list[str] = []
    with lying_registry(lambda request: bearer(realm[0])(request)) as registry:
        realm.append(f"{registry.url}/token")
        settings = with_account({registry.host: "me:secret"})
        assert repository_of(registry, settings).get_manifest("1").digest == MANIFEST.digest()
        (asked,) = registry.asked("GET", "/token")
    assert asked.authorization == BASIC
    assert asked.query["scope"] == ["repository:team/app:pull"]
    assert asked.query["service"] == ["s"]
    assert asked.query["account"] == ["me"]


def test_k5_what_is_logged_holds_no_secret(
    with_account: WithAccount, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="entrepot")
    realm: list[str] = []
    with lying_registry(lambda request: bearer(realm[0])(request)) as registry:
        realm.append(f"{registry.url}/token")
        repository_of(registry, with_account({registry.host: "me:secret"})).get_manifest("1")
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("entrepot")]
    assert f"http GET {registry.url}/v2/team/app/manifests/1 auth=bearer -> 200" in lines
    assert f"http GET {registry.url}/token auth=basic -> 200" in lines
    text = "\n".join(lines)
    assert not any(hidden in text for hidden in ("secret", BASIC.split()[1], "t-repository"))


@pytest.mark.parametrize(
    "lifetime", [b"1" + b"0" * 400, b"NaN", b"Infinity"], ids=["huge", "NaN", "infinite"]
)
def test_k4_a_token_with_a_lifetime_that_is_no_time_is_refused(
    settings: ClientSettings, lifetime: bytes
) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/token":
            return Reply(200, body=b'{"token": "t", "expires_in": ' + lifetime + b"}")
        realm = f'Bearer realm="http://{request.headers["host"]}/token",scope="repository:team/app:pull"'
        return Reply(401, {"WWW-Authenticate": realm})

    with lying_registry(answer) as registry, pytest.raises(RegistryMisbehaved, match="gave no token"):
        repository_of(registry, settings).get_manifest("latest")


def test_k5_a_token_server_on_another_host_never_sees_the_password(with_account: WithAccount) -> None:
    with lying_registry(token_of) as other:
        with lying_registry(bearer(f"{other.url}/token")) as registry:
            settings = with_account({registry.host: "me:secret"})
            with pytest.raises(DestinationForbidden, match="another host") as caught:
                repository_of(registry, settings).get_manifest("1")
        assert "token-realms" in (caught.value.hint or "")
        assert other.requests == []


def test_k5_a_token_server_the_user_named_is_trusted(with_account: WithAccount) -> None:
    with lying_registry(token_of) as other:
        with lying_registry(bearer(f"{other.url}/token")) as registry:
            named = f'[registry."{registry.host}"]\ntoken-realms = ["{other.host}"]\n'
            settings = with_account({registry.host: "me:secret"}, named)
            repository_of(registry, settings).get_manifest("1")
        assert secrets_seen(other) == [BASIC]


def test_k5_without_an_account_another_token_server_is_asked_anonymously(settings: ClientSettings) -> None:
    with lying_registry(token_of) as other:
        with lying_registry(bearer(f"{other.url}/token")) as registry:
            repository_of(registry, settings).get_manifest("1")
        assert len(other.requests) == 1
        assert secrets_seen(other) == []


def test_k5_an_https_registry_may_not_name_a_plain_token_server(
    tmp_path: Path, with_account: WithAccount
) -> None:
    context, _ = server_certificate(tmp_path)
    with lying_registry(token_of) as plain:
        with lying_registry(bearer(f"{plain.url}/token"), context=context) as registry:
            named = f'[registry."{registry.host}"]\ntoken-realms = ["{plain.host}"]\n'
            settings = with_account({registry.host: "me:secret"}, named)
            with pytest.raises(DestinationForbidden, match="without TLS"):
                repository_of(registry, settings).get_manifest("1")
        assert plain.requests == []


def test_k5_a_token_server_that_redirects_is_not_followed(with_account: WithAccount) -> None:
    with lying_registry(token_of) as other:

        def script(request: Request) -> Reply:
            if request.path == "/token":
                return Reply(307, {"Location": f"{other.url}/token"})
            return Reply(401, {"WWW-Authenticate": f'Bearer realm="http://{request.headers["host"]}/token"'})

        with lying_registry(script) as registry:
            settings = with_account({registry.host: "me:secret"})
            with pytest.raises(DestinationForbidden, match="redirects"):
                repository_of(registry, settings).get_manifest("1")
        assert other.requests == []


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_k5_authorization_does_not_follow_a_redirect(scheme: str, with_account: WithAccount) -> None:
    with lying_registry(lambda _: Reply(200, body=DATA)) as storage:

        def script(request: Request) -> Reply:
            host = request.headers["host"]
            if request.path == "/token":
                return token_of(request)
            if request.authorization is None:
                return Reply(401, {"WWW-Authenticate": f'{scheme} realm="http://{host}/token"'})
            return Reply(307, {"Location": f"{storage.url}/blob"}) if "/blobs/" in request.path else SERVED

        with lying_registry(script) as registry:
            settings = with_account({registry.host: "me:secret"})
            with repository_of(registry, settings).open_blob(BLOB) as stream:
                assert stream.read() == DATA
        assert secrets_seen(registry)
        assert secrets_seen(storage) == []


def test_k5_a_storage_that_asks_for_a_password_gets_none(with_account: WithAccount) -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="storage"'}
    with lying_registry(lambda _: Reply(401, challenge)) as storage:
        script = routes({("GET", "/blobs/"): Reply(307, {"Location": f"{storage.url}/blob"})})
        with lying_registry(script) as registry:
            settings = with_account({registry.host: "me:secret", storage.host: "me:secret"})
            with pytest.raises(EntrepotError):
                repository_of(registry, settings).open_blob(BLOB)
        assert secrets_seen(storage) == []


def test_tokens_are_kept_by_scope_and_renewed_when_rejected(with_account: WithAccount) -> None:
    valid: list[str] = []

    def script(request: Request) -> Reply:
        if request.path == "/token":
            valid[:] = [f"t-{len(registry.asked('GET', '/token'))}"]
            return Reply(200, body=json.dumps({"access_token": valid[0]}).encode())
        if request.authorization != f"Bearer {valid[0] if valid else '?'}":
            host = request.headers["host"]
            challenge = f'Bearer realm="http://{host}/token",service="s",error="invalid_token"'
            return Reply(401, {"WWW-Authenticate": challenge})
        return SERVED

    with lying_registry(script) as registry:
        repository = repository_of(registry, with_account({registry.host: "me:secret"}))
        repository.get_manifest("1")
        repository.get_manifest("2")
        assert len(registry.asked("GET", "/token")) == 1
        valid[:] = ["revoked"]
        repository.get_manifest("3")
        assert len(registry.asked("GET", "/token")) == 2


def test_an_identity_token_is_exchanged_by_post(tmp_path: Path, with_account: WithAccount) -> None:
    def script(request: Request) -> Reply:
        if request.path == "/token":
            return Reply(200, body=b'{"access_token":"t-ok"}')
        return bearer(f"http://{request.headers['host']}/token")(request)

    with lying_registry(script) as registry:
        with_account({})
        config = {"auths": {registry.host: {"auth": "bWU6", "identitytoken": "refresh-me"}}}
        (tmp_path / ".docker" / "config.json").write_text(json.dumps(config))
        from tests.support.lying_registry import quick_settings

        repository_of(registry, quick_settings(tmp_path)).get_manifest("1")
        (asked,) = registry.asked("POST", "/token")
    assert b"grant_type=refresh_token" in asked.body
    assert b"refresh_token=refresh-me" in asked.body
    assert asked.authorization is None


def test_a_pull_that_is_refused_says_how_to_go_on(settings: ClientSettings) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
    with (
        lying_registry(routes({("GET", "/manifests/"): Reply(403, body=body)})) as registry,
        pytest.raises(AccessDenied) as caught,
    ):
        repository_of(registry, settings).get_manifest("1")
    assert str(caught.value) == (
        f"pull access denied for {registry.host}/team/app, repository does not exist or may require "
        "'entrepot login': denied: requested access to the resource is denied"
    )
    assert caught.value.hint == f"log in with: entrepot login {registry.host}"


def test_a_mount_asks_for_both_repositories_in_one_token(with_account: WithAccount) -> None:
    def inner(request: Request) -> Reply:
        return Reply(201) if request.method == "POST" else SERVED

    def script(request: Request) -> Reply:
        return bearer(f"http://{request.headers['host']}/token", inner)(request)

    with lying_registry(script) as registry:
        settings = with_account({registry.host: "me:secret"})
        repository = repository_of(registry, settings, push=True)
        assert repository.mount_blob(BLOB, "other/app")
        asked = registry.asked("GET", "/token")[-1]
    assert asked.query["scope"] == ["repository:other/app:pull", "repository:team/app:pull,push"]
