"""What to write into clients' settings so that they pull through an upstream's project. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from entrepot.client.hosts import HUB
from entrepot.server.movement.upstreams.model import Upstream

__all__ = ["Snippet", "snippets_for"]


@dataclass(frozen=True, slots=True)
class Snippet:
    """One client's."""

    client: str
    where: str
    """The file it goes to, or what it is."""
    text: str


def snippets_for(upstream: Upstream, base_url: str) -> tuple[Snippet, ...]:
    """`base_url`: the registry as clients reach it."""
    parts = urlsplit(base_url)
    here, insecure = parts.netloc, parts.scheme == "http"
    registry = upstream.registry
    server = "https://registry-1.docker.io" if registry == HUB else upstream.address.url
    name = "library/nginx" if registry == HUB else "team/app"
    found = [
        Snippet("any client", "the name to pull", f"docker pull {here}/{upstream.project}/{name}"),
        Snippet(
            "containerd",
            f"/etc/containerd/certs.d/{registry}/hosts.toml",
            f'server = "{server}"\n\n[host."{base_url}"]\n  capabilities = ["pull", "resolve"]',
        ),
        Snippet(
            "podman, skopeo, buildah, CRI-O",
            "/etc/containers/registries.conf.d/entrepot.conf",
            f'[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\n\n'
            f'[[registry.mirror]]\nlocation = "{here}/{upstream.project}"'
            + ("\ninsecure = true" if insecure else ""),
        ),
        Snippet(
            "BuildKit",
            "buildkitd.toml",
            f'[registry."{registry}"]\n  mirrors = ["{here}/{upstream.project}"]'
            + (f'\n\n[registry."{here}"]\n  http = true' if insecure else ""),
        ),
    ]
    if registry == HUB:
        told = "" if upstream.whole else f"needs: entrepot admin upstream set {upstream.project} --whole"
        found.append(
            Snippet(
                "docker",
                "/etc/docker/daemon.json" + (f" ({told})" if told else ""),
                f'{{ "registry-mirrors": ["{base_url}"] }}',
            )
        )
    return tuple(found)
