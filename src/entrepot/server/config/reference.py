"""The documentation of the settings, read from the model itself."""

from __future__ import annotations

import ast
import inspect
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_type_hints

from entrepot.server.config import model
from entrepot.server.config.load import SECTIONS, variable_name
from entrepot.server.config.values import show


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of docs/settings.md."""

    section: str
    key: str
    default: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        return variable_name(self.section, self.key)


def settings() -> list[Setting]:
    """Every setting with its documentation (empty when the model has none)."""
    texts = _field_texts()
    rows = []
    for section, kind in SECTIONS.items():
        hints = get_type_hints(kind)
        for item in fields(kind):
            made: Any = item.default if item.default is not MISSING else None
            if made is None and item.default_factory is not MISSING:
                made = item.default_factory()
            text = texts.get((kind.__name__, item.name), "")
            rows.append(Setting(section, item.name, show(made, hints[item.name]), text))
    return rows


def section_text(section: str) -> str:
    return inspect.getdoc(SECTIONS[section]) or ""


def _field_texts() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(model)).body:
        if isinstance(node, ast.ClassDef):
            for line, below in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(line, ast.AnnAssign)
                    and isinstance(line.target, ast.Name)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                ):
                    found[node.name, line.target.id] = " ".join(str(below.value.value).split())
    return found


def markdown() -> str:
    """docs/settings.md, whole."""
    lines = [
        "# Settings",
        "",
        "One TOML file, given with `--config FILE` or `ENTREPOT_CONFIG`; every setting can also be given",
        "as an environment variable. Later wins: default, file, environment, flag. `entrepot config check`",
        "says what is wrong with them, `entrepot config show` what they are and where each came from.",
        "",
        'Sizes are written `"64GiB"` or as a number of bytes, durations `"10s"`, `"15min"`, `"24h"`, `"7d"`',
        "or as a number of seconds; lists in the environment are separated by commas.",
        "",
        "This page is printed by `entrepot config show --docs`.",
    ]
    section = ""
    for row in settings():
        if row.section != section:
            section = row.section
            lines += ["", f"## [{section}]", "", section_text(section), ""]
            lines += ["| setting | default | variable | meaning |", "| --- | --- | --- | --- |"]
        text = row.text.replace("|", "\\|")
        lines.append(f"| `{row.key}` | `{row.default}` | `{row.variable}` | {text} |")
    return "\n".join(lines) + "\n"
