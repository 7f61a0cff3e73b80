"""Secrets out of URLs and texts; everything else stays readable."""

import pytest

from entrepot.observability.redact import redact_text


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
    assert redact_text(url) == shown


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
