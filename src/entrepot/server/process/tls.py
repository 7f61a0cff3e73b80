"""Certificates: the one the operator brings, or one we make and explain.

A self-signed certificate is its own authority: clients that trust the file trust the registry and nothing
else. It is kept in the data directory and made again when it is about to end or names are missing.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from cryptography import x509

from entrepot.errors import InvalidInput
from entrepot.server.config.addresses import Address
from entrepot.server.config.model import Config
from entrepot.server.process.granian_host import TlsFiles

VALID_DAYS: Final = 825
RENEW_DAYS: Final = 30


class CertificateInvalid(InvalidInput):
    """The certificate and key cannot be used."""

    code: ClassVar[str] = "certificate-invalid"


def tls_files(config: Config, addresses: Sequence[Address]) -> TlsFiles | None:
    """The files the listeners use, checked; None without TLS. Makes the self-signed ones.

    Raises CertificateInvalid.
    """
    tls = config.tls
    if tls.self_signed:
        cert, key = self_signed(config.server.data / "tls", certificate_names(config, addresses))
    elif tls.cert is not None and tls.key is not None:
        cert, key = tls.cert, tls.key
    else:
        return None
    check_pair(cert, key)
    return TlsFiles(str(cert.absolute()), str(key.absolute()), tls.min_version)


def check_pair(cert: Path, key: Path) -> None:
    """Raises CertificateInvalid unless the files hold a certificate and its private key."""
    for path in (cert, key):
        if not path.is_file():
            raise CertificateInvalid(f"{path}: no such file; tls.cert and tls.key name PEM files")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def no_passphrase() -> str:
        raise CertificateInvalid(f"{key} needs a passphrase; give a key without one")

    try:
        context.load_cert_chain(cert, key, no_passphrase)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise CertificateInvalid(
            f"{cert} and {key} are not a PEM certificate and its private key: {reason}"
        ) from error


def certificate_names(config: Config, addresses: Sequence[Address]) -> list[str]:
    """Every name clients may use, in a stable order."""
    names = ["localhost", "127.0.0.1", "::1"]
    names += [
        address.host for address in addresses if address.host and address.host not in ("localhost", "::")
    ]
    if any(not address.is_loopback for address in addresses):
        with contextlib.suppress(OSError):
            names.append(socket.gethostname())
    if config.server.public_url:
        from urllib.parse import urlsplit

        names.append(urlsplit(config.server.public_url).hostname or "localhost")
    names += config.tls.names
    return list(dict.fromkeys(names))


def self_signed(folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """(certificate, key), made when there are none that still fit."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not _still_fits(cert, key, names):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(cert, key, names)
    return cert, key


def _still_fits(cert: Path, key: Path, names: Sequence[str]) -> bool:
    if not (cert.is_file() and key.is_file()):
        return False
    try:
        known = x509.load_pem_x509_certificate(cert.read_bytes())
        found = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    have = {str(name.value) for name in found}
    left = known.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return set(names) <= have and left > datetime.timedelta(days=RENEW_DAYS)


def _make(cert: Path, key: Path, names: Sequence[str]) -> None:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "entrepot registry")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, secret, 0o600)
    _write(cert, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    temporary.replace(path)


def trust_instructions(cert: Path, host: str) -> list[str]:
    """How clients on this machine come to trust the self-signed certificate."""
    docker, podman = f"/etc/docker/certs.d/{host}", f"/etc/containers/certs.d/{host}"
    system = "/usr/local/share/ca-certificates/entrepot.crt"
    return [
        f"The certificate is self-signed: {cert}",
        "Clients trust it after one of:",
        f"  docker   sudo mkdir -p {docker} && sudo cp {cert} {docker}/ca.crt",
        f"  podman   sudo mkdir -p {podman} && sudo cp {cert} {podman}/ca.crt",
        f"  Debian   sudo cp {cert} {system} && sudo update-ca-certificates",
        f"  curl     curl --cacert {cert} https://{host}/v2/",
    ]
