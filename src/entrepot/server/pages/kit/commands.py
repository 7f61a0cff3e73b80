"""Exact commands to copy: pulling and pushing with each tool people have. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from entrepot.server.pages.kit.artifact_view import ArtifactView

__all__ = [
    "Command",
    "commands_for",
    "login_commands",
    "past_commands",
    "push_commands",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Command:
    """What to type (or to put into a file), under the name of the tool."""

    tool: str
    text: str


def commands_for(
    artifact: ArtifactView | None,
    host: str,
    repository: str,
    *,
    tag: str | None = None,
    digest: str | None = None,
    private: bool = False,
) -> list[Command]:
    """Pulling an image (None) or what is none, by tag where there is one, with what can pull it."""
    if artifact is None:
        return _image_commands(host, repository, tag, digest, private=private)
    if artifact.is_chart and tag:
        return [*_chart_commands(host, repository, tag), *_artifact_commands(host, repository, tag, digest)]
    return _artifact_commands(host, repository, tag, digest)


def _image_commands(
    host: str, repository: str, tag: str | None, digest: str | None, *, private: bool
) -> list[Command]:
    """Kubernetes gets the digest: what runs is what was looked at."""
    name = f"{host}/{repository}"
    image = f"{name}:{tag}" if tag else f"{name}@{digest}"
    pinned = f"{name}:{tag}@{digest}" if tag and digest else image
    spec = f"containers:\n  - name: {repository.rpartition('/')[2]}\n    image: {pinned}"
    if private:
        spec += "\nimagePullSecrets:\n  - name: registry"
    return [
        Command("docker", f"docker pull {image}"),
        Command("podman", f"podman pull {image}"),
        Command("entrepot", f"entrepot pull {image}"),
        Command("Kubernetes", spec),
    ]


def _chart_commands(host: str, repository: str, tag: str) -> list[Command]:
    """Helm asks for a version, which has `+` where a tag can have none."""
    chart, version = f"oci://{host}/{repository}", tag.replace("_", "+")
    release = repository.rpartition("/")[2]
    return [
        Command("helm", f"helm pull {chart} --version {version}"),
        Command("helm install", f"helm install {release} {chart} --version {version}"),
    ]


def _artifact_commands(host: str, repository: str, tag: str | None, digest: str | None) -> list[Command]:
    """docker and podman pull images alone."""
    name = f"{host}/{repository}:{tag}" if tag else f"{host}/{repository}@{digest}"
    folder = repository.rpartition("/")[2]
    return [
        Command("oras", f"oras pull {name}"),
        Command("entrepot", f"entrepot copy docker://{name} oci:{folder}"),
        Command("skopeo", f"skopeo copy docker://{name} oci:{folder}"),
    ]


def past_commands(host: str, repository: str, tag: str, *, at: int, digest: str) -> list[Command]:
    """What a tag was at a moment, in microseconds since 1970. Only our own tool asks by time.

    To the microsecond: less would be before the move that made it so.
    """
    moment = (_EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return [
        Command("entrepot", f"entrepot pull {host}/{repository}:{tag} --at {moment}"),
        Command("docker", f"docker pull {host}/{repository}@{digest}"),
        Command("podman", f"podman pull {host}/{repository}@{digest}"),
    ]


def push_commands(host: str, repository: str) -> list[Command]:
    image = f"{host}/{repository}:latest"
    return [
        Command("docker", f"docker tag my-image {image}\ndocker push {image}"),
        Command("podman", f"podman push my-image {image}"),
        Command("entrepot", f"entrepot tag my-image {image}\nentrepot push {image}"),
        Command("skopeo", f"skopeo copy docker-daemon:my-image:latest docker://{image}"),
    ]


def login_commands(host: str, name: str, secret: str) -> list[Command]:
    """For CI and clusters: the secret goes in through standard input or a Secret, not the command line."""
    return [
        Command("docker", f"echo {secret} |\n  docker login {host} -u {name} --password-stdin"),
        Command("podman", f"echo {secret} |\n  podman login {host} -u {name} --password-stdin"),
        Command(
            "Kubernetes",
            f"kubectl create secret docker-registry registry \\\n  --docker-server={host} \\\n"
            f"  --docker-username='{name}' \\\n  --docker-password={secret}",
        ),
    ]
