"""Secrets out of URLs, headers and texts; everything else stays readable."""

import pickle

import pytest

from entrepot.observability.redact import Secret, redact_headers, redact_text, redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:5000/v2/a/manifests/latest", "https://host:5000/v2/a/manifests/latest"),
        ("https://u:p@host/x", "https://***@host/x"),
        ("https://u@host/x", "https://***@host/x"),
        ("https://h/t?scope=repository:a:pull&token=abc", "https://h/t?scope=repository:a:pull&token=***"),
        ("https://h/x?n=1&X-Amz-Signature=abc&y=2", "https://h/x?n=1&X-Amz-Signature=***&y=2"),
        ("https://[bad/?token=abc", "https://[bad/?token=***"),
    ],
)
def test_urls_keep_all_but_their_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_headers_show_the_scheme_alone() -> None:
    headers = {
        "Authorization": "Bearer abc",
        "proxy-authorization": "abc",
        "Accept": "x",
        "Set-Cookie": "a=b c",
    }
    assert dict(redact_headers(headers)) == {
        "Authorization": "Bearer ***",
        "proxy-authorization": "***",
        "Accept": "x",
        "Set-Cookie": "***",
    }


@pytest.mark.parametrize(
    "text",
    [
        "pull of library/nginx done",
        'Www-Authenticate: Bearer realm="https://auth/token",service="x"',
        "sha256:" + "a" * 64,
        "user 'u' signed in",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact_text(text) == text


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("abc")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret.reveal() == "abc"
    assert secret == Secret("abc")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
