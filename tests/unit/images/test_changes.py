"""`--change`: Dockerfile instructions on an image's config."""

from typing import Any

import pytest

from entrepot.images.changes import InvalidChange, apply_changes

GOOD: list[tuple[str, dict[str, Any]]] = [
    ('CMD ["sh", "-c"]', {"Cmd": ["sh", "-c"]}),
    ("cmd echo $HOME", {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
    ("ENTRYPOINT /e", {"Entrypoint": ["/bin/sh", "-c", "/e"]}),
    ("ENV A=b C=d", {"Env": ["A=b", "C=d"]}),
    ('ENV A="b c" D=e\\ f', {"Env": ["A=b c", "D=e f"]}),
    ("ENV A b c", {"Env": ["A=b c"]}),
    ("LABEL x=y", {"Labels": {"x": "y"}}),
    ("EXPOSE 80 53/udp 8000-8002", {"ExposedPorts": {
        "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}}),
    ('VOLUME ["/a b", "/c"]', {"Volumes": {"/a b": {}, "/c": {}}}),
    ("VOLUME /v /w", {"Volumes": {"/v": {}, "/w": {}}}),
    ("WORKDIR /w", {"WorkingDir": "/w"}),
    ("WORKDIR w/../x", {"WorkingDir": "/x"}),
    ("USER 1:2", {"User": "1:2"}),
    ("STOPSIGNAL SIGTERM", {"StopSignal": "SIGTERM"}),
    ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
    ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
    ("HEALTHCHECK CMD true", {"Healthcheck": {"Test": ["CMD-SHELL", "true"]}}),
    ('HEALTHCHECK --interval=1m30s --retries=3 CMD ["a", "b"]', {"Healthcheck": {
        "Interval": 90_000_000_000, "Retries": 3, "Test": ["CMD", "a", "b"]}}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), GOOD, ids=[change for change, _ in GOOD])
def test_instruction_changes_the_config(change: str, expected: dict[str, Any]) -> None:
    assert apply_changes({}, [change]) == expected


BAD = [
    ("RUN x", "run is not a valid change command"),
    ("nope", "nope is not a valid change command"),
    ("", "file with no instructions"),
    ("USER", "USER requires exactly one argument"),
    ("VOLUME []", "VOLUME requires at least one argument"),
    ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("CMD", "CMD requires at least one argument"),
    ("ENV A", "ENV must have two arguments"),
    ("EXPOSE 70000", "invalid containerPort: 70000"),
    ("EXPOSE 9-8", "invalid containerPort: 9-8"),
    ("LABEL x='y", "cannot be read"),
    ("HEALTHCHECK --interval=soon CMD x", "invalid duration"),
    ("HEALTHCHECK MAYBE", "Unknown type"),
    ("ONBUILD FROM x", "FROM isn't allowed"),
    ("STOPSIGNAL /x", "invalid signal"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[change for change, _ in BAD])
def test_bad_instruction_is_refused_in_words(change: str, said: str) -> None:
    with pytest.raises(InvalidChange, match=said):
        apply_changes({}, [change])


def test_changes_add_to_what_is_there() -> None:
    before = {"Env": ["A=1", "B=2"], "Labels": {"k": "v"}, "Cmd": ["old"], "Custom": 1}
    after = apply_changes(before, ["ENV B=3", "LABEL l=w", 'ENTRYPOINT ["e"]'])
    assert after == {"Env": ["A=1", "B=3"], "Labels": {"k": "v", "l": "w"}, "Entrypoint": ["e"], "Custom": 1}
    assert before["Cmd"] == ["old"]


def test_entrypoint_keeps_a_cmd_given_with_it() -> None:
    assert apply_changes({"Cmd": ["old"]}, ["CMD a", 'ENTRYPOINT ["e"]'])["Cmd"] == ["/bin/sh", "-c", "a"]
