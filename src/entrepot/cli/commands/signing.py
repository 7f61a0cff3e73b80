"""`entrepot signing`: signatures in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from entrepot.cli.output import write

if TYPE_CHECKING:
    from entrepot.signing.dsse import Statement
    from entrepot.signing.verdict import Verified

_FILE = click.Path(path_type=Path)


@click.command("verify-bundle", short_help="Verify a sigstore bundle in a file")
@click.option("--bundle", metavar="FILE", type=_FILE, required=True, help="The bundle (0.1, 0.2 or 0.3)")
@click.option("--artifact", metavar="FILE", type=_FILE, help="What was signed")
@click.option("--digest", metavar="DIGEST", help="What was signed, by its digest alone (sha256:…)")
@click.option("--key", metavar="FILE", type=_FILE, help="Public key of the signer (PEM)")
@click.option("--identity", metavar="NAME", help="Whom the signer's certificate names: mail address or URI")
@click.option("--issuer", metavar="URL", help="Who has to have checked that identity")
@click.option("--trusted-root", metavar="FILE", type=_FILE, help="Whom to believe: a trusted_root.json")
def verify_bundle(
    bundle: Path, artifact: Path | None, digest: str | None, key: Path | None, identity: str | None,
    issuer: str | None, trusted_root: Path | None,
) -> None:  # fmt: skip
    """Say whether a bundle is a signature of this artifact by this signer. Nothing is fetched.

    The exit code is 0 when it is, and 1 when it is not or something could not be read; the reason is said.
    """
    from entrepot.actions.verify_bundle import verify_bundle as action

    done = action(
        bundle, artifact=artifact, digest=digest, key=key, identity=identity, issuer=issuer,
        trusted_root=trusted_root,
    )  # fmt: skip
    for line in describe(done):
        write(line)


def _provenance(statement: Statement) -> list[str]:
    from entrepot.signing.provenance import read_provenance

    found = read_provenance(statement)
    if found is None:
        return []
    said = (
        ("Builder", found.builder), ("Source", found.source), ("Reference", found.reference),
        ("Commit", found.commit),
    )  # fmt: skip
    return [f"{name}: {text}" for name, text in said if text]


def describe(done: Verified) -> list[str]:
    """A verified signature in lines: who, when, and what could not be checked."""
    when = f" at {done.signed_at:%Y-%m-%d %H:%M:%S} UTC" if done.signed_at else ""
    lines = [f"Verified: signed by {done.signer}{when}"]
    if done.statement is not None:
        lines.append(f"States: {done.statement.predicate_type}")
        lines += _provenance(done.statement)
    if done.log_index is not None:
        lines.append(f"Log index: {done.log_index}")
    return [*lines, *(f"Note: {note}" for note in done.notes)]
