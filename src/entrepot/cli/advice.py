"""What is said about words that are no command."""

from __future__ import annotations

_IMAGES_FROM_IMAGES = (
    "entrepot builds no Dockerfiles. buildah (buildah bud) and BuildKit (buildctl, docker buildx) do, and\n"
    "push to any registry. Without a Dockerfile, 'entrepot append' adds files to an image and\n"
    "'entrepot mutate' changes its settings."
)
ELSEWHERE: dict[str, str] = {
    "build": _IMAGES_FROM_IMAGES,
    "builder": _IMAGES_FROM_IMAGES,
    "buildx": _IMAGES_FROM_IMAGES,
    "image build": _IMAGES_FROM_IMAGES,
    "compose": "entrepot runs one container a command. podman-compose and docker compose read compose files.",
    "network": "entrepot has no networks to manage; 'entrepot run --help' says what --network takes.",
}
"""docker's commands that are not here → where that is done."""

_MOST_OFFERED = 3
_SHORT_WORD = 5
"""Letters below which a second slip makes another word."""


def advice_on(words: str, known: list[str]) -> str:
    """What to try instead of an unknown command, of those `known` in its place; empty when none is near."""
    if words in ELSEWHERE:
        return ELSEWHERE[words]
    word = words.rpartition(" ")[2]
    if len(word) > 2 and (begun := [other for other in known if other.startswith(word)]):
        fitting = begun[:_MOST_OFFERED]
    else:
        steps = {other: distance(word, other) for other in known}
        nearest = min(steps.values(), default=0)
        allowed = 1 if len(word) < _SHORT_WORD else 2
        fitting = [other for other in known if steps[other] == nearest <= allowed][:_MOST_OFFERED]
    if not fitting:
        return ""
    if len(fitting) == 1:
        return f"Did you mean this?\n  {fitting[0]}"
    return "\n  ".join(["Did you mean one of these?", *fitting])


def distance(left: str, right: str) -> int:
    """How many letters have to be put in, left out, changed or swapped with their neighbour."""
    before: list[int] = []
    above = list(range(len(right) + 1))
    for at, letter in enumerate(left, 1):
        row = [at]
        for to, other in enumerate(right, 1):
            best = min(above[to] + 1, row[-1] + 1, above[to - 1] + (letter != other))
            if at > 1 and to > 1 and letter == right[to - 2] and left[at - 2] == other:
                best = min(best, before[to - 2] + 1)
            row.append(best)
        before, above = above, row
    return above[-1]
