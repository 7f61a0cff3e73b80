"""Go templates as `--format` arguments use them."""

from typing import Any

import pytest

from entrepot.cli.templates import MissingField, TemplateError, UnparsableTemplate, render

DATA: dict[str, Any] = {
    "Id": "sha256:0123456789ab",
    "RepoTags": ["bb:1", "bb:2"],
    "Config": {"Labels": {"a.b": "x", "k": "<v>"}, "Env": None, "Cmd": ["sh", "-c"], "Tty": False},
    "Size": 1982305,
    "Empty": [],
}

GOOD = [
    ("{{.Id}}", "sha256:0123456789ab"),
    ("{{ .Size }} bytes", "1982305 bytes"),
    ("{{json .Config.Cmd}}", '["sh","-c"]'),
    ("{{json .Config.Labels}}", '{"a.b":"x","k":"\\u003cv\\u003e"}'),
    ("{{.RepoTags}}", "[bb:1 bb:2]"),
    ("{{.Config.Labels}}", "map[a.b:x k:<v>]"),
    ("{{.Config.Env}}", "<no value>"),
    ("{{.Config.Tty}}", "false"),
    ('{{index .Config.Labels "a.b"}}', "x"),
    ('{{index .Config.Labels "none"}}', ""),
    ("{{index .RepoTags 1}}", "bb:2"),
    ("{{range .RepoTags}}<{{.}}>{{end}}", "<bb:1><bb:2>"),
    ("{{range $i, $t := .RepoTags}}{{$i}}={{$t}};{{end}}", "0=bb:1;1=bb:2;"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;k=<v>;"),
    ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
    ("{{range .Config.Env}}x{{end}}", ""),
    ("{{if .Config.Tty}}yes{{else}}no{{end}}", "no"),
    ("{{if .Config.Tty}}a{{else if .Size}}b{{else}}c{{end}}", "b"),
    ('{{if eq .Id "x" "sha256:0123456789ab"}}same{{end}}', "same"),
    ("{{if and .Size (not .Config.Tty)}}both{{end}}", "both"),
    ("{{if or .Config.Tty .Empty}}one{{else}}none{{end}}", "none"),
    ("{{if gt .Size 1000}}big{{end}}", "big"),
    ("{{with .Config}}{{json .Tty}}{{end}}", "false"),
    ('{{join .RepoTags ", "}}', "bb:1, bb:2"),
    ("{{upper .Id}} {{lower `ABC`}} {{title `ab cd`}}", "SHA256:0123456789AB abc Ab Cd"),
    ('{{split .Id ":"}}', "[sha256 0123456789ab]"),
    ('{{index (split .Id ":") 1}}', "0123456789ab"),
    ("{{truncate .Id 5}}", "sha25"),
    ("{{pad `x` 2 1}}|", "  x |"),
    ("{{println .Size}}", "1982305\n"),
    ("{{printf `%-6s|%4d|%q|%%` `ab` 7 `c`}}", 'ab    |   7|"c"|%'),
    ("{{len .RepoTags}}", "2"),
    ("{{slice .Id 7 11}}", "0123"),
    ("{{.Id | upper | printf `%s!`}}", "SHA256:0123456789AB!"),
    ("{{$x := .Size}}{{$x}}", "1982305"),
    ("{{$n := 0}}{{range .RepoTags}}{{$n = .}}{{end}}{{$n}}", "bb:2"),
    ("{{range .RepoTags}}{{$.Size}} {{end}}", "1982305 1982305 "),
    ("a {{- .Size -}} b", "a1982305b"),
    ("a{{/* said nothing */}}b", "ab"),
    ("{{true}} {{1.5}} {{`raw\\n`}}", "true 1.5 raw\\n"),
    ('{{"a\\tb"}}', "a\tb"),
    ("{{(index .Config.Labels `k`)}}", "<v>"),
    ("no actions", "no actions"),
]


@pytest.mark.parametrize(("template", "expected"), GOOD, ids=[template for template, _ in GOOD])
def test_template_renders_as_go_does(template: str, expected: str) -> None:
    assert render(template, DATA) == expected


BAD = [
    ("{{.Id", "unclosed action"),
    ("{{nope .Id}}", 'function "nope" not defined'),
    ("{{if .Id}}x", "unexpected EOF"),
    ("{{end}}", "unexpected {{end}}"),
    ("{{(.Id}}", "unclosed left paren"),
    ("{{}}", "missing value for command"),
    ("{{.Id .Size}}", "can't give argument to non-function"),
]


@pytest.mark.parametrize(("template", "said"), BAD, ids=[template for template, _ in BAD])
def test_unparsable_template_says_why_and_exits_64(template: str, said: str) -> None:
    with pytest.raises(UnparsableTemplate) as failure:
        render(template, DATA)
    assert failure.value.message == f"template parsing error: template: :1: {said}"
    assert failure.value.exit_code == 64


def test_missing_field_is_named() -> None:
    with pytest.raises(MissingField, match='map has no entry for key "Nope"') as failure:
        render("{{.Nope}}", DATA)
    assert failure.value.exit_code == 1


@pytest.mark.parametrize("template", ["{{index .RepoTags 7}}", "{{join .Size `,`}}", "{{range .Id}}x{{end}}"])
def test_misused_function_is_an_error_in_words(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, DATA)


def test_ports_and_volumes_are_printed_as_sets() -> None:
    data = {"Ports": {"80/tcp": {}, "443/udp": {}}, "Labels": {}}
    assert render("{{.Ports}} {{.Labels}}", data) == "map[443/udp:{} 80/tcp:{}] map[]"
