"""What a refused push or delete says: the registry's reason where it gives one, and what would help."""

import io
from collections.abc import Callable

import pytest

from entrepot.client.errors import AccessDenied, AuthenticationFailed
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import ManifestNotFound
from entrepot.errors import EntrepotError
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from tests.integration.client.conftest import repository_of
from tests.support.lying_registry import Reply, Request, lying_registry

DATA = b"layer" * 1000
BLOB = Descriptor(mediatype.OCI_LAYER, Digest.of(DATA), len(DATA))
WithAccount = Callable[..., ClientSettings]
SCOPE = 'Bearer realm="http://{host}/token",service="s",scope="repository:team/app:push",error="{error}"'


def refusing(body: bytes, error: str = "insufficient_scope") -> Callable[[Request], Reply]:
    """Knows the account and lets it do nothing."""

    def answer(request: Request) -> Reply:
        if request.path == "/token":
            return Reply(200, body=b'{"token":"t"}')
        challenge = SCOPE.format(host=request.headers["host"], error=error)
        return Reply(401, {"WWW-Authenticate": challenge}, b"" if request.method == "HEAD" else body)

    return answer


def refused_push(body: bytes, settings: ClientSettings, error: str = "insufficient_scope") -> EntrepotError:
    with (
        lying_registry(refusing(body, error)) as registry,
        pytest.raises(EntrepotError) as caught,
    ):
        repository_of(registry, settings, push=True).put_blob(BLOB, io.BytesIO(DATA))
    return caught.value


GENERIC = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
REASON = b'{"errors":[{"code":"UNAUTHORIZED","message":"me may not push on team/app: no grant"}]}'


def test_a_push_tells_the_registrys_reason(with_account: WithAccount) -> None:
    with lying_registry(refusing(REASON)) as registry:
        settings = with_account({registry.host: "me:secret"})
        repository = repository_of(registry, settings, push=True)
        assert repository.find_manifest("1") is None
        with pytest.raises(AccessDenied, match="me may not push on team/app: no grant") as caught:
            repository.put_blob(BLOB, io.BytesIO(DATA))
        assert caught.value.hint is None  # the reason says itself what to do


@pytest.mark.parametrize("body", [b"", GENERIC], ids=["nothing", "a phrase"])
def test_a_push_without_a_reason_is_denied_in_dockers_words(
    with_account: WithAccount, settings: ClientSettings, body: bytes
) -> None:
    with lying_registry(refusing(body)) as registry:
        settings = with_account({registry.host: "me:secret"})
        with pytest.raises(AccessDenied) as caught:
            repository_of(registry, settings, push=True).put_blob(BLOB, io.BytesIO(DATA))
    assert str(caught.value) == "denied: requested access to the resource is denied"
    assert caught.value.hint == f"the account you have at {registry.host} may not do this"


def test_nobody_is_told_to_log_in(settings: ClientSettings) -> None:
    error = refused_push(GENERIC, settings)
    assert isinstance(error, AccessDenied)
    assert (error.hint or "").startswith("log in with: entrepot login localhost:")


def test_nobody_is_told_to_log_in_where_a_rule_refuses_everybody(settings: ClientSettings) -> None:
    rule = b'{"errors":[{"code":"DENIED","message":"tag v1 of a/b is immutable; push under another tag"}]}'
    with lying_registry(lambda _: Reply(403, body=rule)) as registry, pytest.raises(AccessDenied) as caught:
        repository_of(registry, settings, push=True).put_blob(BLOB, io.BytesIO(DATA))
    assert (caught.value.hint, "immutable" in str(caught.value)) == (None, True)


def test_an_account_that_is_not_taken_has_to_log_in_again(with_account: WithAccount) -> None:
    with lying_registry(refusing(GENERIC, error="invalid_token")) as registry:
        settings = with_account({registry.host: "me:secret"})
        with pytest.raises(AuthenticationFailed) as caught:
            repository_of(registry, settings, push=True).put_blob(BLOB, io.BytesIO(DATA))
    assert caught.value.hint == f"log in again with: entrepot login {registry.host}"


def test_a_missing_tag_leads_to_the_command_that_lists_them(settings: ClientSettings) -> None:
    body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest 9 is not in team/app"}]}'
    with lying_registry(lambda _request: Reply(404, body=body)) as registry:
        with pytest.raises(ManifestNotFound) as caught:
            repository_of(registry, settings).get_manifest("9")
        shown = f"entrepot tags {registry.host}/team/app"
    assert caught.value.hint == f"see which tags there are: {shown}"
