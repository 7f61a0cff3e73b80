"""`entrepot sign`, `attest` and `verify`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, open_store, quiet_option
from entrepot.cli.output import write

_FILE = click.Path(path_type=Path)


def _split(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    wrong = next((name for name, equals, _ in pairs if not equals or not name), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not KEY=VALUE")
    return {name: text for name, _, text in pairs}


@click.command("sign", short_help="Sign an image in its registry")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.option(
    "--key", metavar="FILE|env://NAME", help="The key to sign with: PEM, cosign's encrypted ones too"
)
@click.option("--key-command", metavar="COMMAND", help="A command that prints the key")
@click.option("--old-form", is_flag=True, help="Sign as cosign did before 2025: below the tag sha256-….sig")
@click.option("--certificate-chain", metavar="FILE", type=_FILE,
              help="Sign as notation does, with these certificates: the signer's first")  # fmt: skip
@click.option(
    "--expires-in", metavar="DAYS", type=click.IntRange(min=1), help="With notation: for how long it holds"
)
@click.option("-a", "--annotation", "annotations", metavar="KEY=VALUE", multiple=True, callback=_split,
              help="Sign this as well (can be given several times)")  # fmt: skip
@quiet_option("Print only the digest of the signature")
@insecure_option()
def sign(
    image: str, key: str | None, key_command: str | None, old_form: bool, certificate_chain: Path | None,
    expires_in: int | None, annotations: dict[str, str],
    quiet: bool, insecure: bool,
) -> None:  # fmt: skip
    """Sign what IMAGE stands for now, with all its platforms, and put the signature beside it.

    The password of an encrypted key is read from ENTREPOT_KEY_PASSWORD or COSIGN_PASSWORD.
    """
    from entrepot.actions.sign import sign as action

    done = action(
        image, key=key, key_command=key_command, old_form=old_form, certificate_chain=certificate_chain,
        expires_in=timedelta(days=expires_in) if expires_in else None, annotations=annotations,
        insecure=insecure, store=open_store(),
    )  # fmt: skip
    write(done.signature if quiet else f"Signed {done.image} ({done.digest}): {done.signature}")


@click.command("attest", short_help="State something about an image, signed")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.option("--type", "kind", metavar="TYPE", required=True,
              help="slsaprovenance, spdx, cyclonedx, vuln, openvex, or a URI")  # fmt: skip
@click.option("--predicate", metavar="FILE", type=_FILE, required=True, help="What is stated: a JSON object")
@click.option(
    "--key", metavar="FILE|env://NAME", help="The key to sign with: PEM, cosign's encrypted ones too"
)
@click.option("--key-command", metavar="COMMAND", help="A command that prints the key")
@quiet_option("Print only the digest of the attestation")
@insecure_option()
def attest(
    image: str, kind: str, predicate: Path, key: str | None, key_command: str | None, quiet: bool,
    insecure: bool,
) -> None:  # fmt: skip
    """Sign a statement about IMAGE (provenance, a bill of materials, a scan) and put it beside the image."""
    from entrepot.actions.sign import attest as action

    done = action(
        image, kind=kind, predicate=predicate, key=key, key_command=key_command, insecure=insecure,
        store=open_store(),
    )  # fmt: skip
    write(done.signature if quiet else f"Attested {done.image} ({done.digest}): {done.signature}")


@click.command("verify", short_help="Verify who signed an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.option("--key", metavar="FILE", type=_FILE, help="Public key of the signer (PEM)")
@click.option("--identity", metavar="NAME", help="Whom the signer's certificate names: mail address or URI")
@click.option("--issuer", metavar="URL", help="Who has to have checked that identity")
@click.option("--trusted-root", metavar="FILE", type=_FILE, help="Whom to believe: a trusted_root.json")
@click.option("--notation-trust-policy", "policy", metavar="FILE", type=_FILE,
              help="Whose signatures of notation's do: a trustpolicy.json")  # fmt: skip
@click.option("--notation-trust-store", "stores", metavar="DIR", type=_FILE,
              help="Where its trust stores are; unless said, truststore beside it")  # fmt: skip
@click.option("--type", "kind", metavar="TYPE",
              help="Ask for an attestation of this type instead of a signature")  # fmt: skip
@quiet_option("Print only the digest of the image")
@insecure_option()
def verify(
    image: str, key: Path | None, identity: str | None, issuer: str | None, trusted_root: Path | None,
    policy: Path | None, stores: Path | None, kind: str | None, quiet: bool, insecure: bool,
) -> None:  # fmt: skip
    """Say whether this signer signed what IMAGE stands for now; leave with 1 and the reasons if not."""
    from entrepot.actions.verify import verify as action
    from entrepot.cli.commands.signing import describe

    done = action(
        image, key=key, identity=identity, issuer=issuer, trusted_root=trusted_root, kind=kind,
        notation_policy=policy, notation_stores=stores,
        insecure=insecure, store=open_store(),
    )  # fmt: skip
    if quiet:
        write(str(done.digest))
        return
    write(f"Image: {done.name}@{done.digest}")
    for one in done.signatures:
        for line in describe(one.verified):
            write(line)
    for reason in done.refused:
        write(f"Passed over: {reason}")
