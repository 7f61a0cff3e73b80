"""Names of images, by docker's rules, and the names a registry knows.

    reference := name [":" tag] ["@" digest]        name := [registry "/"] path
    path      := component ("/" component)*
    component := [a-z0-9]+ ( ("." | "_" | "__" | "-"+) [a-z0-9]+ )*
    registry  := host [":" port]

`Reference` is what people type (a registry and `library/` may be left out); `RepositoryName` and
`TagName` are what the distribution-spec allows in a path of the registry API. All are valid by
construction: none can leave a directory or a URL they are put into. Error texts are docker's.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from msgspec import Struct
from msgspec.structs import replace

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest, InvalidDigest

RepositoryName = NewType("RepositoryName", str)
TagName = NewType("TagName", str)

DEFAULT_REGISTRY: Final = "docker.io"
LEGACY_DEFAULT_REGISTRY: Final = "index.docker.io"
OFFICIAL_PREFIX: Final = "library/"
DEFAULT_TAG: Final = TagName("latest")
MAX_REPOSITORY_LENGTH: Final = 255
MAX_TAG_LENGTH: Final = 128
# Longer text is refused unread, so that no input can keep the patterns below busy.
MAX_REFERENCE_LENGTH: Final = 8192

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_HOST_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:{_HOST_COMPONENT}(?:\.{_HOST_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_path_pattern: Final = re.compile(_PATH)
_registry_pattern: Final = re.compile(_REGISTRY)
_tag_pattern: Final = re.compile(_TAG)
_reference_pattern: Final = re.compile(rf"(?:({_REGISTRY})/)?({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_identifier_pattern: Final = re.compile(r"[a-f0-9]{64}")

_FORMAT_MESSAGE: Final = "invalid reference format"
_TOO_LONG: Final = f"repository name must not be more than {MAX_REPOSITORY_LENGTH} characters"
_FORMAT_HINT: Final = "a reference looks like [registry[:port]/]name[:tag][@sha256:…]"


class InvalidReference(InvalidInput):
    """The text names no image. The message is docker's."""

    code = "invalid-reference"


class InvalidRepositoryName(InvalidReference):
    """The text is no repository name (distribution-spec: Pulling manifests)."""

    code = "invalid-repository-name"


class InvalidTag(InvalidReference):
    """The text is no tag (distribution-spec: Pulling manifests)."""

    code = "invalid-tag"


class Reference(Struct, frozen=True, order=True):
    """A registry, a repository in it, and perhaps a tag, a digest or both.

    `registry` is empty for the few names docker accepts but can't send anywhere (`foo_bar.com/app`).
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        if self.registry and not _registry_pattern.fullmatch(self.registry):
            raise InvalidReference(_FORMAT_MESSAGE, hint=_FORMAT_HINT)
        if not _path_pattern.fullmatch(self.repository):
            raise InvalidReference(_FORMAT_MESSAGE, hint=_FORMAT_HINT)
        if len(self.repository) > MAX_REPOSITORY_LENGTH:
            raise InvalidReference(_TOO_LONG)
        if self.tag is not None and not _tag_pattern.fullmatch(self.tag):
            raise InvalidReference("invalid tag format", hint=_FORMAT_HINT)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Complete what is left out of the name (`docker.io`, `library/`), but never the tag.

        Raises InvalidReference.
        """
        if _identifier_pattern.fullmatch(text):
            raise InvalidReference(
                f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        if len(text) > MAX_REFERENCE_LENGTH:
            raise InvalidReference(_FORMAT_MESSAGE, hint=_FORMAT_HINT)
        registry, remainder = _split_registry(text)
        name = remainder.partition(":")[0]
        if name.lower() != name:
            raise InvalidReference(f"{_FORMAT_MESSAGE}: repository name ({_shown(name)}) must be lowercase")
        found = _reference_pattern.fullmatch(f"{registry}/{remainder}")
        if found is None:
            raise InvalidReference(_FORMAT_MESSAGE, hint=_FORMAT_HINT)
        registry, repository, tag, digest = found.groups()
        reference = cls(registry or "", repository, tag)
        return reference if digest is None else replace(reference, digest=_parse_digest(digest))

    def with_default_tag(self) -> Reference:
        """Itself, or with `latest` when there is neither tag nor digest."""
        if self.tag is not None or self.digest is not None:
            return self
        return replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str | None) -> Reference:
        """The digest stays."""
        return replace(self, tag=tag)

    def with_digest(self, digest: Digest | None) -> Reference:
        """The tag stays."""
        return replace(self, digest=digest)

    @property
    def name(self) -> str:
        """Registry and repository: `docker.io/library/nginx`."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def familiar_name(self) -> str:
        """The shortest name that means the same: `nginx`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        short = self.repository.removeprefix(OFFICIAL_PREFIX)
        return self.repository if "/" in short else short

    def familiar(self) -> str:
        """As people write it: `nginx:1.15`."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return f"{tag}@{self.digest}" if self.digest is not None else tag


def parse_any_reference(text: str) -> Reference | Digest:
    """Where an image ID may stand as well: 64 hex digits or `sha256:…` are a digest, else a name.

    Short IDs look like names; the store that knows the IDs tells them apart.
    """
    if _identifier_pattern.fullmatch(text):
        return Digest("sha256", text)
    try:
        return Digest.parse(text)
    except InvalidDigest:
        return Reference.parse(text)


def parse_repository(text: str) -> RepositoryName:
    """A repository as the registry API spells it, at most 255 characters. Raises InvalidRepositoryName."""
    if len(text) > MAX_REPOSITORY_LENGTH:
        raise InvalidRepositoryName(_TOO_LONG)
    if not _path_pattern.fullmatch(text):
        if _path_pattern.fullmatch(text.lower()):
            raise InvalidRepositoryName(f"repository name ({_shown(text)}) must be lowercase")
        raise InvalidRepositoryName(
            f"invalid repository name ({_shown(text)})",
            hint="lower-case letters, digits, and single . _ __ or - between them; components parted by /",
        )
    return RepositoryName(text)


def parse_tag(text: str) -> TagName:
    """A tag as the registry API spells it, at most 128 characters. Raises InvalidTag."""
    if not _tag_pattern.fullmatch(text):
        raise InvalidTag(
            f"invalid tag ({_shown(text)})",
            hint="letters, digits, _ . and -, at most 128, not starting with . or -",
        )
    return TagName(text)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_REGISTRY, OFFICIAL_PREFIX + text
    if first == LEGACY_DEFAULT_REGISTRY:
        registry, remainder = DEFAULT_REGISTRY, rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        registry, remainder = first, rest
    else:
        registry, remainder = DEFAULT_REGISTRY, text
    if registry == DEFAULT_REGISTRY and "/" not in remainder:
        remainder = OFFICIAL_PREFIX + remainder
    return registry, remainder


def _parse_digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidDigest as error:
        raise InvalidReference(error.message, hint=error.hint) from error


def _shown(text: str) -> str:
    """What a message may repeat of foreign text."""
    clean = text.encode("unicode_escape").decode("ascii")
    return clean if len(clean) <= 80 else clean[:77] + "..."
