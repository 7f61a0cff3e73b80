"""Go templates, the part people's `--format` arguments use.

Owns: `{{.A.B}}` `{{$x := …}}` pipelines, parentheses, `if/else if/else`, `range` (with variables and `else`),
`with`, `{{- trim -}}`, comments, and docker's functions: json index join upper lower title split truncate
pad println print printf len slice eq ne lt le gt ge and or not. Left out: `define`, `template`, `block`,
methods. The data are plain Python values (dict, list, str, int, bool, None) printed the way Go prints them.

    text ──tokens──▶ actions and text ──_Parser──▶ nodes ──_Run──▶ text

The file is long because it is one small language: a construct of it is read and run by what stands here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from entrepot.cli import exitcodes
from entrepot.cli.terminal import escape_json, text_lines
from entrepot.errors import InvalidInput

MAX_TEMPLATE_CHARS = 64 * 1024


class TemplateError(InvalidInput):
    """A template that cannot be read, or that asks for a field that is not there. In Go's words."""

    code: ClassVar[str] = "invalid-template"
    bare = True

    def __init__(self, message: str, *, exit_code: int = exitcodes.FAILED) -> None:
        super().__init__(f"template parsing error: template: :1: {message}")
        self.exit_code = exit_code


class UnparsableTemplate(TemplateError):
    """The text is no template. docker leaves with 64 then."""

    code: ClassVar[str] = "unparsable-template"

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=exitcodes.BAD_TEMPLATE)


class MissingField(TemplateError):
    """A field the data do not have."""

    code: ClassVar[str] = "template-field-missing"


def render(template: str, data: Any) -> str:
    """`template` filled with `data`; `{{.}}` is `data`. Raises TemplateError."""
    return compile_template(template)(data)


def compile_template(template: str) -> Callable[[Any], str]:
    """Parse once, render many times. Raises UnparsableTemplate."""
    if len(template) > MAX_TEMPLATE_CHARS:
        raise UnparsableTemplate(f"a template has at most {MAX_TEMPLATE_CHARS} characters")
    nodes = _Parser(_split_text(template)).parse()

    def fill(data: Any) -> str:
        run = _Run(data)
        run.walk(nodes, data)
        return "".join(run.out)

    return fill


def fields_named_in(template: str) -> list[str]:
    """The first-level fields a template prints, in order; `table` takes its headings from them."""
    return re.findall(
        r"\.([A-Za-z_][A-Za-z0-9_]*)", "".join(template[start:end] for start, end in _actions(template))
    )


# --- text and actions -----------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<raw>`[^`]*`)|(?P<char>'(?:[^'\\]|\\.)')
    |(?P<number>[+-]?\d+(?:\.\d+)?)|(?P<declare>:=)|(?P<assign>=)|(?P<pipe>\|)|(?P<open>\()|(?P<close>\))
    |(?P<comma>,)|(?P<variable>\$[A-Za-z0-9_]*)|(?P<field>\.[A-Za-z_][A-Za-z0-9_]*)|(?P<dot>\.)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    glued: bool
    """No space before it: `$x.Name` and `(f).Name` are one operand."""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Action:
    tokens: tuple[_Token, ...]


def _split_text(template: str) -> list[_Text | _Action]:
    pieces: list[_Text | _Action] = []
    at, trim_next = 0, False
    for start, end in _actions(template):
        text, body = template[at : start - 2], template[start:end]
        if trim_next:
            text = text.lstrip()
        if body[:1] == "-" and body[1:2].isspace():
            text, body = text.rstrip(), body[2:]
        if text:
            pieces.append(_Text(text))
        trim_next = body[-1:] == "-" and body[-2:-1].isspace()
        at = end + 2
        body = (body[:-1] if trim_next else body).strip()
        if not (body.startswith("/*") and body.endswith("*/")):
            pieces.append(_Action(tuple(_tokens(body))))
    rest = template[at:]
    if "{{" in rest:
        raise UnparsableTemplate("unclosed action")
    if trim_next:
        rest = rest.lstrip()
    if rest:
        pieces.append(_Text(rest))
    return pieces


def _actions(template: str) -> Iterable[tuple[int, int]]:
    """Where what is between `{{` and `}}` begins and ends."""
    at = 0
    while (start := template.find("{{", at)) >= 0 and (end := template.find("}}", start + 2)) >= 0:
        yield start + 2, end
        at = end + 2


def _tokens(body: str) -> Iterable[_Token]:
    at, glued = 0, False
    while at < len(body):
        found = _TOKEN.match(body, at)
        if found is None:
            raise UnparsableTemplate(f"unexpected {body[at]!r} in {body!r}".replace("'", '"'))
        at = found.end()
        kind = found.lastgroup or ""
        if kind == "space":
            glued = False
            continue
        yield _Token(kind, found[0], glued)
        glued = True


# --- nodes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class _Path:
    """A value and the fields asked of it: `.A.B`, `$x.A`, `(f x).A`."""

    base: Any
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str


@dataclass(frozen=True, slots=True)
class _Dot:
    pass


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Pipeline:
    commands: tuple[Any, ...]
    declares: tuple[str, ...] = ()
    assigns: bool = False


@dataclass(slots=True)
class _Branch:
    kind: str
    pipeline: _Pipeline
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)


class _Parser:
    """Pieces into nodes, by recursive descent."""

    def __init__(self, pieces: list[_Text | _Action]) -> None:
        self._pieces = pieces
        self._at = 0

    def parse(self) -> list[Any]:
        nodes, stop = self._block()
        if stop is not None:
            raise UnparsableTemplate(f"unexpected {{{{{stop[0].text}}}}}")
        return nodes

    def _block(self) -> tuple[list[Any], tuple[_Token, ...] | None]:
        """Nodes up to an `end` or `else` (returned) or the end of the text (None)."""
        nodes: list[Any] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, _Text):
                nodes.append(_Literal(piece.text))
                continue
            if not piece.tokens:
                raise UnparsableTemplate("missing value for command")
            word = piece.tokens[0].text if piece.tokens[0].kind == "word" else ""
            if word in ("end", "else"):
                return nodes, piece.tokens
            if word in ("if", "range", "with"):
                nodes.append(self._branch(word, piece.tokens[1:]))
            else:
                nodes.append(_Expression(piece.tokens).pipeline())
        return nodes, None

    def _branch(self, kind: str, tokens: tuple[_Token, ...]) -> _Branch:
        branch = _Branch(kind, _Expression(tokens).pipeline(in_range=kind == "range"))
        branch.body, stop = self._block()
        if stop is None:
            raise UnparsableTemplate("unexpected EOF")
        if stop[0].text == "else":
            if len(stop) > 1 and stop[1].text in ("if", "with"):
                branch.otherwise = [self._branch(stop[1].text, stop[2:])]
                return branch
            branch.otherwise, stop = self._block()
            if stop is None or stop[0].text != "end":
                raise UnparsableTemplate("expected end")
        return branch


class _Expression:
    """The tokens of one action into a pipeline."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def pipeline(self, *, in_range: bool = False) -> _Pipeline:
        declares, assigns = self._declarations(in_range)
        pipeline = self._commands()
        if self._at < len(self._tokens):
            raise UnparsableTemplate(f'unexpected "{self._tokens[self._at].text}" in operand')
        return _Pipeline(pipeline.commands, declares, assigns)

    def _peek(self, ahead: int = 0) -> _Token | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def _kind(self, ahead: int = 0) -> str:
        token = self._peek(ahead)
        return token.kind if token else ""

    def _declarations(self, in_range: bool) -> tuple[tuple[str, ...], bool]:
        if self._kind() != "variable":
            return (), False
        if self._kind(1) in ("declare", "assign"):
            name, assigns = self._tokens[self._at].text, self._kind(1) == "assign"
            self._at += 2
            return (name,), assigns
        if (
            in_range
            and self._kind(1) == "comma"
            and self._kind(2) == "variable"
            and self._kind(3) == "declare"
        ):
            names = (self._tokens[self._at].text, self._tokens[self._at + 2].text)
            self._at += 4
            return names, False
        return (), False

    def _commands(self) -> _Pipeline:
        commands = [self._command()]
        while self._kind() == "pipe":
            self._at += 1
            commands.append(self._command())
        return _Pipeline(tuple(commands))

    def _command(self) -> Any:
        operands: list[Any] = []
        function: str | None = None
        if self._kind() == "word" and self._tokens[self._at].text not in ("true", "false", "nil"):
            function = self._tokens[self._at].text
            if function not in FUNCTIONS and function not in ("and", "or"):
                raise UnparsableTemplate(f'function "{function}" not defined')
            self._at += 1
        while self._kind() not in ("", "pipe", "close"):
            operands.append(self._operand())
        if function is not None:
            return _Call(function, tuple(operands))
        if not operands:
            raise UnparsableTemplate("missing value for command")
        if len(operands) > 1:
            raise UnparsableTemplate("can't give argument to non-function")
        return operands[0]

    def _operand(self) -> Any:
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "open":
            inner = self._commands()
            if self._kind() != "close":
                raise UnparsableTemplate("unclosed left paren")
            self._at += 1
            return self._fields_of(inner)
        if token.kind == "field":
            return self._fields_of(_Dot(), token.text[1:])
        if token.kind == "dot":
            return _Dot()
        if token.kind == "variable":
            return self._fields_of(_Variable(token.text))
        return _operand_literal(token)

    def _fields_of(self, base: Any, *first: str) -> Any:
        fields = list(first)
        while (token := self._peek()) is not None and token.kind == "field" and token.glued:
            fields.append(token.text[1:])
            self._at += 1
        return _Path(base, tuple(fields)) if fields else base


_WORDS = {"true": True, "false": False, "nil": None}


def _operand_literal(token: _Token) -> Any:
    if token.kind in ("string", "char"):
        return _Literal(_unescape(token.text[1:-1]))
    if token.kind == "raw":
        return _Literal(token.text[1:-1])
    if token.kind == "number":
        return _Literal(float(token.text) if "." in token.text else int(token.text))
    if token.kind == "word" and token.text in _WORDS:
        return _Literal(_WORDS[token.text])
    if token.kind == "word" and token.text in FUNCTIONS:
        return _Call(token.text, ())
    if token.kind == "word":
        raise UnparsableTemplate(f'function "{token.text}" not defined')
    raise UnparsableTemplate(f'unexpected "{token.text}" in operand')


def _unescape(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "ux" and len(code) > 1:
            return chr(int(code[1:], 16))
        return {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}.get(code, code)

    return _ESCAPE.sub(one, text)


# --- running --------------------------------------------------------------------------------------

_NOTHING = object()


class _Run:
    """One rendering: output and variables."""

    def __init__(self, data: Any) -> None:
        self.out: list[str] = []
        self._scopes: list[dict[str, Any]] = [{"$": data}]

    def walk(self, nodes: list[Any], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, _Literal):
                self.out.append(node.value)
            elif isinstance(node, _Branch):
                self._branch(node, dot)
            else:
                value = self._pipeline(node, dot)
                if not node.declares:
                    # Only values: what the caller typed around them may well be colours.
                    self.out.append(text_lines(go_text(value)))

    def _branch(self, branch: _Branch, dot: Any) -> None:
        self._scopes.append({})
        value = self._pipeline(branch.pipeline, dot)
        if branch.kind == "range":
            self._range(branch, value, dot)
        elif is_true(value):
            self.walk(branch.body, value if branch.kind == "with" else dot)
        else:
            self.walk(branch.otherwise, dot)
        self._scopes.pop()

    def _range(self, branch: _Branch, value: Any, dot: Any) -> None:
        pairs = _pairs(value)
        if not pairs:
            self.walk(branch.otherwise, dot)
        names = branch.pipeline.declares
        for key, item in pairs:
            values = (item,) if len(names) == 1 else (key, item)
            self._scopes.append(dict(zip(names, values, strict=False)))
            self.walk(branch.body, item)
            self._scopes.pop()

    def _pipeline(self, pipeline: _Pipeline, dot: Any) -> Any:
        value: Any = _NOTHING
        for command in pipeline.commands:
            value = self._command(command, dot, value)
        for name in pipeline.declares:
            self._set(name, value, assigns=pipeline.assigns)
        return value

    def _set(self, name: str, value: Any, *, assigns: bool) -> None:
        if assigns:
            for scope in reversed(self._scopes):
                if name in scope:
                    scope[name] = value
                    return
        self._scopes[-1][name] = value

    def _command(self, command: Any, dot: Any, piped: Any) -> Any:
        if isinstance(command, _Call):
            arguments = [*command.arguments]
            if command.name in ("and", "or"):
                return self._shortcut(command, dot, piped)
            values = [self._value(argument, dot) for argument in arguments]
            if piped is not _NOTHING:
                values.append(piped)
            return _call(command.name, values)
        if piped is not _NOTHING:
            raise TemplateError("can't give argument to non-function")
        return self._value(command, dot)

    def _shortcut(self, call: _Call, dot: Any, piped: Any) -> Any:
        value: Any = None
        for argument in call.arguments:
            value = self._value(argument, dot)
            if is_true(value) == (call.name == "or"):
                return value
        return value if piped is _NOTHING else piped

    def _value(self, node: Any, dot: Any) -> Any:
        if isinstance(node, _Literal):
            return node.value
        if isinstance(node, _Dot):
            return dot
        if isinstance(node, _Variable):
            return self._variable(node.name)
        if isinstance(node, _Path):
            value = self._value(node.base, dot)
            for name in node.fields:
                value = get_field(value, name)
            return value
        if isinstance(node, _Call):
            return self._command(node, dot, _NOTHING)
        return self._pipeline(node, dot)

    def _variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise UnparsableTemplate(f'undefined variable "{name}"')


def get_field(value: Any, name: str) -> Any:
    """`.name` of a mapping. Raises MissingField, in the words docker's inspect has for it."""
    if isinstance(value, Mapping):
        if name in value:
            return value[name]
        raise MissingField(f'executing "" at <.{name}>: map has no entry for key "{name}"')
    if value is None:
        raise MissingField(f'executing "" at <.{name}>: nil data; no entry for key "{name}"')
    raise MissingField(f'executing "" at <.{name}>: can\'t evaluate field {name} in type {_go_type(value)}')


def is_true(value: Any) -> bool:
    """Go's truth: false, 0, nil and anything empty are not."""
    return bool(value)


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(value)]
    if value is None:
        return []
    raise TemplateError(f"range can't iterate over {go_text(value)}")


def go_text(value: Any) -> str:
    """The text Go's `print` gives: `[a b]`, `map[k:v]`, `true`, `<no value>`."""
    if value is None:
        return "<no value>"
    return _go_part(value)


def _go_part(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        # What docker keeps in the values of ExposedPorts and Volumes is an empty struct.
        items = (
            (_go_part(key), "{}" if item == {} else _go_part(item)) for key, item in sorted(value.items())
        )
        return "map[" + " ".join(f"{key}:{item}" for key, item in items) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_go_part(item) for item in value) + "]"
    return str(value)


def _go_type(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}"}
    return names.get(type(value), type(value).__name__)


# --- functions ------------------------------------------------------------------------------------


class Row(dict[str, Any]):
    """A line of a listing; `{{json .}}` shows the fields in `json_names`, in that order."""

    json_names: Sequence[str] = ()


def to_json(value: Any) -> str:
    """JSON as docker prints it: no spaces, `<`, `>` and `&` escaped."""
    import msgspec

    if isinstance(value, Row):
        value = {name: value[name] for name in value.json_names if name in value}
    text = msgspec.json.encode(value).decode()
    return escape_json(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif value is None:
            raise TemplateError("error calling index: index of untyped nil")
        elif not isinstance(key, int) or not -1 < key < len(value):
            raise TemplateError(f"error calling index: index out of range: {go_text(key)}")
        else:
            value = value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    start = bounds[0] if bounds else 0
    stop = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= stop <= len(value):
        raise TemplateError(f"error calling slice: index out of range: {stop}")
    return value[start:stop]


def _title(text: str) -> str:
    return re.sub(r"(^|\s)(\S)", lambda found: found[1] + found[2].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    return text if text == "" else " " * before + text + " " * after


def _print(*values: Any) -> str:
    text = ""
    for at, value in enumerate(values):
        # Go puts a space between two operands when neither is a string.
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            text += " "
        text += _go_part(value)
    return text


_VERB = re.compile(r"%([-+ 0#]*+)(\d++)?+(?:\.(\d++))?+([a-zA-Z%])")


def _printf(template: str, *values: Any) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        text = _verb_text(verb, rest.pop(0), precision)
        if width is None:
            return text
        if "-" in flags:
            return text.ljust(int(width))
        return text.rjust(int(width), "0" if "0" in flags and verb in "dfx" else " ")

    return _VERB.sub(one, template)


def _verb_text(verb: str, value: Any, precision: str | None) -> str:
    if verb == "q":
        return to_json(str(value))
    if verb in "dxXo" and isinstance(value, int):
        return format(value, verb)
    if verb in "fge" and isinstance(value, (int, float)):
        return format(value, f".{precision or 6}{verb}")
    text = _go_part(value)
    return text[: int(precision)] if precision is not None and verb in "sv" else text


def _compare(name: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        try:
            return test(left, right)
        except TypeError:
            raise TemplateError(f"error calling {name}: incompatible types for comparison") from None

    return compare


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "index": _index,
    "slice": _slice,
    "join": lambda parts, separator: separator.join(str(part) for part in parts or ()),
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": _title,
    "truncate": lambda text, length: text[:length] if len(text) > length else text,
    "pad": _pad,
    "len": len,
    "print": _print,
    "println": lambda *values: " ".join(_go_part(value) for value in values) + "\n",
    "printf": _printf,
    "not": lambda value: not is_true(value),
    "eq": lambda left, *others: any(left == other for other in others),
    "ne": lambda left, right: left != right,
    "lt": _compare("lt", lambda left, right: left < right),
    "le": _compare("le", lambda left, right: left <= right),
    "gt": _compare("gt", lambda left, right: left > right),
    "ge": _compare("ge", lambda left, right: left >= right),
}


def _call(name: str, values: list[Any]) -> Any:
    try:
        return FUNCTIONS[name](*values)
    except TemplateError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise TemplateError(f"error calling {name}: {error}") from error
