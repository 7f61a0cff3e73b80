"""Whether a licence, as a package states it, is an SPDX expression. Pure.

The list holds what packages of images carry in practice; another one is passed on as a name, which both
formats have a place for.
"""

from __future__ import annotations

import re

SPDX_IDS = frozenset(
    [
        "0BSD",
        "AFL-2.1",
        "AFL-3.0",
        "AGPL-3.0",
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "Apache-1.1",
        "Apache-2.0",
        "Artistic-1.0",
        "Artistic-1.0-Perl",
        "Artistic-2.0",
        "BSD-1-Clause",
        "BSD-2-Clause",
        "BSD-2-Clause-Patent",
        "BSD-3-Clause",
        "BSD-3-Clause-Clear",
        "BSD-4-Clause",
        "BSD-4-Clause-UC",
        "BSL-1.0",
        "BlueOak-1.0.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "CDDL-1.0",
        "CDDL-1.1",
        "CPL-1.0",
        "ECL-2.0",
        "EPL-1.0",
        "EPL-2.0",
        "EUPL-1.1",
        "EUPL-1.2",
        "FSFAP",
        "FSFUL",
        "FSFULLR",
        "FTL",
        "GFDL-1.2",
        "GFDL-1.3",
        "GFDL-1.3-or-later",
        "GPL-1.0",
        "GPL-1.0+",
        "GPL-1.0-only",
        "GPL-1.0-or-later",
        "GPL-2.0",
        "GPL-2.0+",
        "GPL-2.0-only",
        "GPL-2.0-or-later",
        "GPL-3.0",
        "GPL-3.0+",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "HPND",
        "ICU",
        "IJG",
        "IPL-1.0",
        "ISC",
        "LGPL-2.0",
        "LGPL-2.0+",
        "LGPL-2.0-only",
        "LGPL-2.0-or-later",
        "LGPL-2.1",
        "LGPL-2.1+",
        "LGPL-2.1-only",
        "LGPL-2.1-or-later",
        "LGPL-3.0",
        "LGPL-3.0+",
        "LGPL-3.0-only",
        "LGPL-3.0-or-later",
        "LPPL-1.3c",
        "Libpng",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-1.0",
        "MPL-1.1",
        "MPL-2.0",
        "MS-PL",
        "NCSA",
        "NTP",
        "OFL-1.1",
        "OLDAP-2.8",
        "OpenSSL",
        "PHP-3.01",
        "PSF-2.0",
        "PostgreSQL",
        "Python-2.0",
        "Python-2.0.1",
        "Ruby",
        "SGI-B-2.0",
        "SSPL-1.0",
        "Sleepycat",
        "TCL",
        "UPL-1.0",
        "Unicode-3.0",
        "Unicode-DFS-2016",
        "Unlicense",
        "Vim",
        "W3C",
        "WTFPL",
        "X11",
        "ZPL-2.0",
        "ZPL-2.1",
        "Zlib",
        "bzip2-1.0.6",
        "curl",
        "zlib-acknowledgement",
    ]
)
_WORD = re.compile(r"[A-Za-z0-9.+-]+|[()]")
_OPERATORS = frozenset(("AND", "OR"))


def is_id(text: str) -> bool:
    return text in SPDX_IDS


def is_expression(text: str) -> bool:
    """Identifiers of the list joined by AND and OR, with parentheses that match."""
    words = _WORD.findall(text)
    if "".join(words) != "".join(text.split()) or len(words) > 200:
        return False
    depth, wants_operand = 0, True
    for word in words:
        if word == "(" and wants_operand:
            depth += 1
        elif word == ")" and not wants_operand and depth:
            depth -= 1
        elif word in _OPERATORS and not wants_operand:
            wants_operand = True
        elif is_id(word) and wants_operand:
            wants_operand = False
        else:
            return False
    return depth == 0 and not wants_operand
