"""A bundle, an artifact and a signer, all in files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.actions.verify_bundle import verify_bundle
from entrepot.cli.main import main
from entrepot.signing.errors import InvalidTrust
from tests.support.sigstore import IDENTITY, ISSUER, Signer, Sigstore, new_key, pem

CONTENT = b"an artifact"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
IN_FILES = [
    ("--identity", IDENTITY, "--issuer", ISSUER, "--trusted-root", "root", "--artifact", "artifact"),
    ("--identity", IDENTITY, "--issuer", ISSUER, "--trusted-root", "root", "--digest", DIGEST),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the working directory: `by-identity`, `by-key`, `root`, `key` and `artifact`."""
    store, own = Sigstore(), Signer(new_key())
    (tmp_path / "by-identity").write_text(json.dumps(store.message(CONTENT, store.certify())))
    (tmp_path / "by-key").write_text(json.dumps(store.message(CONTENT, own)))
    (tmp_path / "root").write_text(json.dumps(store.trusted_root()))
    (tmp_path / "key").write_bytes(pem(own.key))
    (tmp_path / "artifact").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", IN_FILES, ids=["file", "digest"])
def test_a_signature_that_holds_leaves_with_0_and_says_who(
    files: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["signing", "verify-bundle", "--bundle", "by-identity", *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Verified: signed by {IDENTITY} ({ISSUER}) at 2026-03-01 12:00:05 UTC\n")


def test_a_key_will_do(files: Path) -> None:
    found = verify_bundle(files / "by-key", digest=DIGEST, key=files / "key", trusted_root=files / "root")
    assert found.signer == f"ECDSA P-256 key {files / 'key'}"


def test_a_signature_that_does_not_hold_leaves_with_1_and_says_why(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "artifact").write_bytes(b"something else")
    assert main(["signing", "verify-bundle", "--bundle", "by-identity", *IN_FILES[0]]) == 1
    assert "it is of another digest" in capsys.readouterr().err


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    "change",
    [
        lambda files: _cut(files / "by-identity"),
        lambda files: _cut(files / "root"),
        lambda files: (files / "root").unlink(),
        lambda files: (files / "artifact").unlink(),
        lambda files: (files / "root").write_text("{}"),
        lambda files: (files / "by-identity").write_bytes(b"\xff"),
    ],
    ids=["half a bundle", "half a root", "no root", "no artifact", "empty root", "not text"],
)  # fmt: skip
def test_what_cannot_be_read_leaves_with_1(
    files: Path, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    change(files)
    assert main(["signing", "verify-bundle", "--bundle", "by-identity", *IN_FILES[0]]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "internal error" not in error


def test_who_and_what_have_to_be_named_once(files: Path) -> None:
    bundle, key = files / "by-key", files / "key"
    for wrong in (
        {},
        {"key": key},
        {"key": key, "identity": IDENTITY, "issuer": ISSUER, "digest": DIGEST},
        {"identity": IDENTITY, "digest": DIGEST},
        {"key": key, "digest": DIGEST, "artifact": files / "artifact"},
        {"key": files / "root", "digest": DIGEST},
    ):
        with pytest.raises(InvalidTrust):
            verify_bundle(bundle, **wrong)  # type: ignore[arg-type]
