"""`entrepot serve`: run the registry until it is told to stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click


@click.command()
@click.option("--config", metavar="FILE", envvar="ENTREPOT_CONFIG", help="Settings, as TOML.")
@click.option("--data", metavar="DIR", help="Where the data is kept.  [default: ./entrepot-data]")
@click.option(
    "--listen", metavar="HOST:PORT", multiple=True,
    help="Where to listen; may be given several times.  [default: 127.0.0.1:5000]",
)  # fmt: skip
@click.option("--workers", metavar="N", type=click.IntRange(0, 256), help="Processes that answer requests.")
@click.option("--tls-cert", metavar="FILE", help="Certificate with its chain, PEM.")
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate, PEM.")
@click.option("--tls-self-signed", is_flag=True, help="Make a certificate, and say how clients trust it.")
@click.option("--public-url", metavar="URL", help="How clients reach this registry, if not by its address.")
@click.option(
    "--behind-proxy", metavar="NETWORK", multiple=True,
    help="Address or network of a reverse proxy whose X-Forwarded headers are believed.",
)  # fmt: skip
@click.option(
    "--open", "open_", is_flag=True, help="No accounts, on any address: everyone may push and delete."
)
def serve(config: str | None, **flags: Any) -> None:
    """Run a registry.

    Without any option: at localhost:5000, open to this machine, data in ./entrepot-data.
    Settings: entrepot config show --docs
    """
    from entrepot.observability.logs import configure_logs
    from entrepot.server.compose import copied_catalog, prepare_now
    from entrepot.server.config import load
    from entrepot.server.process.catalog_copy import run_catalog_copy
    from entrepot.server.process.jobs_process import run_jobs
    from entrepot.server.process.supervisor import Supervisor

    settings = load(config, overrides=_overrides(flags))
    log_format = settings.log.format
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    configure_logs(level=settings.log.level, log_format="json" if as_json else "plain")
    copied = copied_catalog(settings)
    supervisor = Supervisor(
        settings,
        prepare=lambda: prepare_now(settings),
        run_jobs=lambda mode, lifeline, scratch, pulse: run_jobs(
            settings, mode, lifeline, scratch, pulse=pulse
        ),
        run_copy=None
        if copied is None
        else lambda lifeline, scratch, pulse: run_catalog_copy(settings, copied, lifeline, scratch, pulse),
        announce=_announce,
    )
    sys.exit(supervisor.run())


def _overrides(flags: dict[str, Any]) -> dict[str, object]:
    names = {
        "data": "server.data",
        "listen": "server.listen",
        "workers": "server.workers",
        "tls_cert": "tls.cert",
        "tls_key": "tls.key",
        "tls_self_signed": "tls.self_signed",
        "public_url": "server.public_url",
        "behind_proxy": "server.behind_proxy",
        "open_": "server.allow_open",
    }
    return {names[flag]: value for flag, value in flags.items() if value not in (None, False, ())}


def _announce(lines: Sequence[str]) -> None:
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
