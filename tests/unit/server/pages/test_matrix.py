"""Every page × role × visibility, against a checked-in table.

Pages that show something are asked for as somebody of each role; forms are decided by their route's action.
The table is made from the routes themselves, so a new route changes it; look at the difference, then write it
anew with: ENTREPOT_WRITE_GOLDEN=1 pytest tests/unit/server/pages/test_matrix.py
"""

import os
from pathlib import Path
from typing import Any

import pytest

from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.role_table import create_role
from entrepot.server.access.directory.teams import create_team
from entrepot.server.http.guard import Asked
from entrepot.server.pages.app import PAGES
from entrepot.server.pages.kit import static
from tests.unit.server.api.conftest import Registry
from tests.unit.server.api.test_matrix import PROJECTS, ROLES, outcome
from tests.unit.server.pages.conftest import Person, visit

pytestmark = pytest.mark.anyio
GOLDEN = Path(__file__).parent / "matrix.golden"


def rows() -> list[tuple[str, str, Any]]:
    """(method, path, action) of every route of the site."""
    found = [
        (method, min(handler.paths), handler.opt.get("action"))
        for handler in (*PAGES, *static.ROUTES)
        for method in handler.http_methods - {"HEAD", "OPTIONS"}
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


def test_every_page_names_an_action() -> None:
    for method, path, action in rows():
        assert isinstance(action, Action | Asked), f"{method} {path} has no policy"


def test_only_these_pages_ask_nobody() -> None:
    assert [f"{method} {path}" for method, path, action in rows() if action is Asked.NOBODY] == [
        "GET /setup",
        "POST /setup",
        "GET /sign-in",
        "POST /sign-in",
        "POST /sign-out",
        "GET /static/{version:str}/{name:str}",
    ]


async def test_matrix_is_the_golden_one(team: Registry) -> None:
    await team.write(create_team, name="devs")
    await team.write(create_role, name="releaser", actions=["push"])
    digest = (await team.push("acme/app", "v1")).digest
    people = {who: await visit(team, who) for who in ROLES}
    text = ["# " + " ".join(f"{(who or 'nobody'):<5}" for who in ROLES)]

    def address(path: str, project: str) -> str:
        for name, value in (
            ("{repository:str}", f"{project}/app"),
            ("{project:str}", project),
            ("{tag:str}", "v1"),
            ("{digest:str}", digest),
            ("{robot:str}", "acme+ci"),
            ("{user:str}", "owner"),
            ("{team:str}", "devs"),
            ("{role:str}", "releaser"),
            ("{source:str}", "corp"),
            ("{version:str}/{name:str}", "0/style.css"),
        ):
            path = path.replace(name, value)
        assert "{" not in path, f"say here what stands for the parameter in {path}"
        return path

    async def shown(person: Person, path: str) -> str:
        answer = await person.get(path)
        if answer.status_code == 303:
            return "in" if answer.headers["location"].startswith("/sign-in") else "303"
        return str(answer.status_code)

    decided: dict[tuple[Any, ...], str] = {}

    async def may(who: str | None, action: Action, where: dict[str, str]) -> str:
        key = (who, action, *where.items())
        if key not in decided:
            decided[key] = await outcome(team, who, action, where)
        return decided[key]

    for method, path, action in rows():
        asked = {Asked.SIGNED_IN: Action.MANAGE_SELF}.get(action, action)
        text.append(f"{method} {path} asks {'nobody' if action is Asked.NOBODY else asked}")
        for project in PROJECTS if "{repository" in path or "{project" in path else ("",):
            if method == "GET":
                cells = [await shown(people[who], address(path, project)) for who in ROLES]
            elif action is Asked.NOBODY:
                continue
            else:
                where = {"repository": f"{project}/app"} if "{repository" in path else {"project": project}
                cells = [await may(who, asked, where if project else {}) for who in ROLES]
            text.append(f"  {project:<7} " + " ".join(f"{cell:<5}" for cell in cells).rstrip())
    made = "\n".join(text) + "\n"
    if os.environ.get("ENTREPOT_WRITE_GOLDEN"):
        GOLDEN.write_text(made)
    assert made == GOLDEN.read_text()
