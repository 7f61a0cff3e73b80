"""What pages do: forms that answer beside the field, deleting with a way back, secrets shown once."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, update

from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.grants import add_grant
from entrepot.server.access.directory.projects import get_project
from entrepot.server.access.directory.role_table import create_role
from entrepot.server.access.directory.settings import set_read_only
from entrepot.server.access.directory.teams import add_member, create_team
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.tables import tag_event
from entrepot.server.db.tables.access import principal
from tests.support.images import OCI_INDEX, index
from tests.unit.server.api.conftest import PASSWORD, Registry
from tests.unit.server.pages.conftest import visit, words

pytestmark = pytest.mark.anyio

ROLE = {"role": "developer", "repositories": "", "tags": "", "until": "", "description": ""}

_TRUSTS = "/projects/acme/robots/acme+ci/trusts"
WRONG: list[tuple[str, str, dict[str, str], str]] = [
    ("root", "/new-project", {"name": "A b", "visibility": "private", "quota": ""}, "name"),
    ("root", "/new-project", {"name": "acme", "visibility": "private", "quota": ""}, "name"),
    ("root", "/new-project", {"name": "", "visibility": "private", "quota": ""}, "name"),
    ("root", "/new-project", {"name": "new", "visibility": "private", "quota": "lots"}, "quota"),
    ("root", "/new-project", {"name": "new", "visibility": "secret", "quota": ""}, "visibility"),
    ("owner", "/projects/acme/settings", {"visibility": "private", "quota": "-5", "version": ""}, "quota"),
    ("owner", "/projects/acme/delete", {"name": "acne"}, "name"),
    ("owner", "/projects/acme/members", {**ROLE, "kind": "user", "name": "nobody-here"}, "name"),
    ("owner", "/projects/acme/members", {**ROLE, "kind": "team", "name": "no-team"}, "name"),
    (
        "owner",
        "/projects/acme/members",
        {**ROLE, "kind": "user", "name": "viewer", "repositories": "other/**"},
        "repositories",
    ),
    (
        "owner",
        "/projects/acme/members",
        {**ROLE, "kind": "user", "name": "viewer", "repositories": "stage/**"},
        "repositories",
    ),
    ("owner", "/projects/acme/members", {**ROLE, "kind": "user", "name": "viewer", "tags": "a b"}, "tags"),
    ("owner", "/projects/acme/robots", {**ROLE, "name": "a b"}, "name"),
    ("owner", "/projects/acme/robots", {**ROLE, "name": "ci"}, "name"),
    ("owner", "/projects/acme/robots", {**ROLE, "name": "new", "until": "1999-01-01"}, "until"),
    ("owner", "/projects/acme/robots", {**ROLE, "name": "new", "until": "soon"}, "until"),
    ("maintainer", "/projects/acme/robots", {**ROLE, "name": "new", "role": "owner"}, "role"),
    (
        "owner",
        _TRUSTS,
        {"issuer": "https://gitlab.com", "claims": "x"},
        "claims",
    ),
    (
        "owner",
        _TRUSTS,
        {"issuer": "https://gitlab.com", "claims": "sub = *"},
        "claims",
    ),
    (
        "owner",
        _TRUSTS,
        {"issuer": "https://mine.example", "claims": "sub = x"},
        "issuer",
    ),
    (
        "owner",
        "/repositories/acme/app/-/settings",
        {"description": "", "readme": "", "labels": "Bad!Label", "version": "0"},
        "labels",
    ),
    ("owner", "/repositories/acme/app/-/delete", {"name": "acme"}, "name"),
    ("viewer", "/account", {"display_name": "V", "email": "no-at-sign"}, "email"),
    (
        "viewer",
        "/account/password",
        {"current": PASSWORD, "new": "short", "repeat": "short"},
        "new",
    ),
    (
        "viewer",
        "/account/password",
        {"current": PASSWORD, "new": "long enough now", "repeat": "not the same"},
        "repeat",
    ),
    ("viewer", "/account/tokens", {"name": "", "rights": "pull", "repositories": "", "until": ""}, "name"),
    (
        "viewer",
        "/account/tokens",
        {"name": "x", "rights": "pull", "repositories": "a/**/b", "until": ""},
        "repositories",
    ),
    ("root", "/admin/users", {"name": "A B", "display_name": "", "email": "", "system_role": ""}, "name"),
    ("root", "/admin/users", {"name": "owner", "display_name": "", "email": "", "system_role": ""}, "name"),
    ("root", "/admin/teams", {"name": "", "description": "", "external_group": ""}, "name"),
    ("root", "/admin/teams", {"name": "t", "description": "", "external_group": "x"}, "external_group"),
    ("root", "/admin/roles", {"name": "owner", "description": "", "actions": "pull"}, "name"),
    ("root", "/admin/roles", {"name": "r", "description": ""}, "actions"),
    (
        "root",
        "/admin/sources",
        {"name": "c", "kind": "oidc", "oidc.issuer": "http://x.example", "oidc.client_id": "e"},
        "oidc.issuer",
    ),
    ("root", "/admin/sources", {"name": "c", "kind": "ldap", "ldap.url": "ldaps://x"}, "ldap.user_base"),
    ("root", "/admin/sources", {"name": "c", "kind": "htpasswd", "htpasswd.path": "x"}, "htpasswd.path"),
]


async def test_wrong_input_is_answered_beside_the_field(team: Registry) -> None:
    """Every form, in words, keeping what was typed; nothing has changed afterwards, so one registry does."""
    people = {who: await visit(team, who) for who in {row[0] for row in WRONG}}
    for who, path, fields, wrong in WRONG:
        answer = await people[who].post(path, **fields)
        case = (path, fields, words(answer)[:300])
        assert answer.status_code == 400, case
        assert f'id="e-{wrong}"' in answer.text, case
        for name, value in fields.items():
            shown = re.search(rf'<(input|textarea)[^>]*name="{re.escape(name)}"[^>]*>', answer.text)
            if shown and value and not re.search('type="(password|radio|checkbox)"', shown[0]):
                assert f'value="{value}"' in shown[0] or shown[1] == "textarea", (name, case)
                assert value in answer.text, (name, case)


async def test_a_form_that_can_not_be_taken_now_is_shown_again_with_503(
    team: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await visit(team, "root")

    async def held(*_args: object, **_options: object) -> None:
        raise CatalogUnavailable("somebody else holds back changes", retry_after_s=2)

    monkeypatch.setattr(team.services.catalog, "write", held)
    answer = await root.post("/new-project", name="typed-name", visibility="private", quota="")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "Somebody else holds back changes." in answer.text
    assert 'value="typed-name"' in answer.text


async def test_wrong_password_is_said_without_saying_who_exists(team: Registry) -> None:
    nobody = await visit(team, None)
    answers = [
        await nobody.post("/sign-in", name=name, password="wrong wrong wrong", next="/")
        for name in ("owner", "no-such-user")
    ]
    assert [a.status_code for a in answers] == [400, 400]
    said = [re.search(r'id="e-password">([^<]*)', a.text) for a in answers]
    assert len({match[1] for match in said if match}) == 1
    assert all(said)


async def test_too_many_attempts_say_how_long_to_wait(team: Registry) -> None:
    """The first two waits, of one and two seconds, are waited for; the next is four."""
    nobody = await visit(team, None)
    for number in range(10):
        answer = await nobody.post("/sign-in", name="owner", password=f"wrong wrong {number}", next="/")
    assert answer.status_code == 429
    assert "Try again in" in answer.text


async def test_page_for_the_signed_in_brings_one_back_after_signing_in(team: Registry) -> None:
    nobody = await visit(team, None)
    sent = await nobody.get("/repositories/acme/app?sort=name")
    assert sent.headers["location"] == "/sign-in?next=%2Frepositories%2Facme%2Fapp%3Fsort%3Dname"
    done = await nobody.post(
        "/sign-in", name="owner", password=PASSWORD, next="/repositories/acme/app?sort=name"
    )
    assert done.headers["location"] == "/repositories/acme/app?sort=name"


async def test_deleted_tags_come_back_with_one_button(team: Registry) -> None:
    for tag in ("v2", "v3"):
        await team.push("acme/app", tag)
    maintainer = await visit(team, "maintainer")
    done = await maintainer.post("/repositories/acme/app/-/delete-tags", tag=["v1", "v2"])
    assert done.status_code == 303
    note = re.search(r"entrepot-note=([^;]+)", done.headers["set-cookie"])
    assert note
    after = await team.client.get(
        done.headers["location"],
        headers={"cookie": maintainer.cookies()["cookie"] + "; entrepot-note=" + note[1]},
    )
    assert "2 tags are deleted." in after.text
    fields = dict(re.findall(r'name="(from|to)" value="(\d+)"', after.text))
    assert (await team.call("HEAD", "/v2/acme/app/manifests/v1", "root")).status_code == 404
    back = await maintainer.post("/repositories/acme/app/-/undo", **fields)
    assert back.status_code == 303
    for tag in ("v1", "v2", "v3"):
        assert (await team.call("HEAD", f"/v2/acme/app/manifests/{tag}", "root")).status_code == 200


async def test_some_tags_that_may_not_go_keep_all_of_them(team: Registry) -> None:
    """One transaction: a tag that is not there leaves the others as they are."""
    maintainer = await visit(team, "maintainer")
    answer = await maintainer.post("/repositories/acme/app/-/delete-tags", tag=["v1", "absent"])
    assert answer.status_code == 404
    assert (await team.call("HEAD", "/v2/acme/app/manifests/v1", "root")).status_code == 200


async def test_somebody_elses_note_is_not_shown(team: Registry) -> None:
    one, other = await visit(team, "owner"), await visit(team, "root")
    done = await one.post("/account", display_name="O", email="")
    note = re.search(r"entrepot-note=([^;]+)", done.headers["set-cookie"])
    assert note
    for cookie in (f"entrepot-note={note[1]}", "entrepot-note=AAAA", "entrepot-note=!"):
        headers = {"cookie": other.cookies()["cookie"] + "; " + cookie}
        assert 'class="note"' not in (await team.client.get("/", headers=headers)).text


async def test_commands_to_pull_are_for_whoever_may(team: Registry) -> None:
    await team.push("acme/app", "latest", files={"a": b"1"})
    await team.push("acme/app", "latest", files={"a": b"2"})
    for path in ("/repositories/acme/app", "/repositories/acme/app/-/tags/latest/history"):
        for who, may in (("viewer", False), ("puller", True)):
            page = await (await visit(team, who)).get(path)
            assert (page.status_code, re.search("(docker|entrepot) pull ", page.text) is not None) == (
                200,
                may,
            ), (who, path)


async def test_compare_opens_on_two_images(team: Registry) -> None:
    """Not on two tags of one: the newest two often are."""
    owner = await visit(team, "owner")
    images = [{"v2", "latest"}, {"v1", "stable"}]
    for tag in images[0]:
        await team.push("acme/pair", tag, files={"a": b"2"})
    alone = await owner.get("/repositories/acme/pair/-/compare")
    assert (alone.status_code, "no second image" in alone.text) == (200, True)
    for tag in images[1]:
        await team.push("acme/pair", tag, files={"a": b"1"})
    for query in ("", "?to=stable", "?to=v2"):
        opened = (await owner.get(f"/repositories/acme/pair/-/compare{query}")).text
        ends = [re.search(f'id="c-{end}" name="{end}" value="([^"]*)"', opened) for end in ("from", "to")]
        shown = {i for i, tags in enumerate(images) for end in ends if end and end[1] in tags}
        assert shown == {0, 1}, query


async def test_history_puts_a_tag_back_to_what_it_was(team: Registry) -> None:
    first = (await team.push("acme/app", "latest", files={"a": b"1"})).digest
    second = (await team.push("acme/app", "latest", files={"a": b"2"})).digest
    maintainer = await visit(team, "maintainer")
    shown = await maintainer.get("/repositories/acme/app/-/tags/latest/history")
    assert "Put it back" in shown.text
    never = await maintainer.post(
        "/repositories/acme/app/-/restore-tag", tag="latest", digest="sha256:" + "0" * 64
    )
    assert never.status_code == 404
    back = await maintainer.post("/repositories/acme/app/-/restore-tag", tag="latest", digest=first)
    assert back.status_code == 303
    now = await team.call("HEAD", "/v2/acme/app/manifests/latest", "root")
    assert now.headers["docker-content-digest"] == first != second


@pytest.mark.parametrize("pushes", [1, 2, 3])
async def test_command_for_the_past_pulls_what_the_history_shows(team: Registry, pushes: int) -> None:
    pushed = [
        (await team.push("acme/app", "latest", files={"a": b"%d" % number})).digest
        for number in range(pushes)
    ]
    shown = await (await visit(team, "maintainer")).get("/repositories/acme/app/-/tags/latest/history")
    command = re.search(r"acme/app:latest --at ([^<\s]+)", shown.text)
    assert command is not None
    got = await team.call("GET", f"/v2/acme/app/manifests/latest?at={command[1]}", "root")
    assert got.status_code == 200, got.text
    assert got.headers["docker-content-digest"] == pushed[-2:][0]


async def test_what_is_put_back_is_as_old_as_before_and_by_whom_it_was(team: Registry) -> None:
    path = "/repositories/acme%2Fapp/tags/v9"
    image = await team.push("acme/app", "v9", who="developer", files={"a": b"9"})
    day = 24 * 3600 * 1_000_000

    def age_pushes(connection: Connection) -> None:
        connection.execute(update(tag_event).values(at=tag_event.c.at - day))

    await team.services.catalog.write(age_pushes)
    maintainer = await visit(team, "maintainer")
    for _ in range(2):  # what was restored once is told apart from a push
        assert (await team.call("DELETE", "/v2/acme/app/manifests/v9", "root")).status_code == 202
        back = await maintainer.post(
            "/repositories/acme/app/-/restore-tag", tag="v9", digest=str(image.digest)
        )
        assert back.status_code == 303
        now = (await team.api("GET", path, "root")).json()
        age = datetime.now(UTC) - datetime.fromisoformat(now["updated_at"])
        assert timedelta(hours=23) < age < timedelta(hours=25)
        assert now["updated_by"] == "developer"
    assert "maintainer restored acme/ app: v9" in words(await maintainer.get("/"))
    history = words(await maintainer.get("/repositories/acme/app/-/tags/v9/history"))
    assert "maintainer put back to" in history


async def test_two_people_editing_do_not_overwrite_each_other(team: Registry) -> None:
    owner = await visit(team, "owner")
    path = "/repositories/acme/app/-/settings"
    fields = {"readme": "", "labels": "", "version": "0"}
    assert (await owner.post(path, description="first", **fields)).status_code == 303
    second = await owner.post(path, description="second", **fields)
    assert second.status_code == 400
    assert "Somebody else saved meanwhile" in second.text
    assert 'value="second"' in second.text
    assert 'name="version" value="1"' in second.text


async def test_secrets_are_shown_once_and_work(team: Registry) -> None:
    owner = await visit(team, "owner")
    made = await owner.post("/projects/acme/robots", **{**ROLE, "name": "deploy"})
    secret = re.search(r"ent_rob_\w+", made.text)
    assert secret
    assert (
        await team.client.get("/v2/acme/app/manifests/v1", auth=("acme+deploy", secret[0]))
    ).status_code == 200
    assert "ent_rob_" not in (await owner.get("/projects/acme/robots/acme+deploy")).text
    token = await owner.post("/account/tokens", name="laptop", rights="pull", repositories="", until="")
    pat = re.search(r"ent_pat_\w{50,}", token.text)
    assert pat
    assert (await team.client.get("/v2/acme/app/manifests/v1", auth=("owner", pat[0]))).status_code == 200
    number = re.search(r'name="token" value="(\w+)"', token.text)
    assert number
    assert (await owner.post("/account/tokens/revoke", token=number[1])).status_code == 303
    assert (await team.client.get("/v2/acme/app/manifests/v1", auth=("owner", pat[0]))).status_code == 401


async def test_first_admin_comes_in_by_the_link_once(registry: Registry) -> None:
    await registry.forget_passwords()
    nobody = await visit(registry, None)
    shown = await nobody.get(f"/setup?token={registry.setup}")
    assert "Choose a password" in shown.text
    fields = {"token": registry.setup, "password": "quite a long one", "repeat": "quite a long one"}
    mistyped = await nobody.post("/setup", **{**fields, "repeat": "quite a long on"})
    assert mistyped.status_code == 400
    assert "not the same" in mistyped.text
    assert (await nobody.post("/setup", **fields)).status_code == 303
    again = await nobody.get(f"/setup?token={registry.setup}")
    assert again.status_code == 403
    assert "This link does not work" in again.text


async def test_new_user_gets_a_link_to_choose_a_password(registry: Registry) -> None:
    root = await visit(registry, "root")
    made = await root.post("/admin/users", name="carol", display_name="Carol", email="", system_role="")
    link = re.search(r"/setup\?token=(ent_set_\w+)", made.text)
    assert link
    assert "carol" in words(await (await visit(registry, None)).get(link[0]))


async def test_last_admin_stays(registry: Registry) -> None:
    root = await visit(registry, "root")
    await root.post("/admin/users/admin/delete", confirm="admin")
    answer = await root.post("/admin/users/root/delete", confirm="root")
    assert answer.status_code == 409
    assert "last admin" in answer.text


GONE_FOR_GOOD = {
    "/admin/users/owner": ("1 session;", "1 role in projects;", "membership of 1 team;"),
    "/projects/acme/robots/acme+ci": ("its secret", "1 role;"),
    "/admin/teams/devs": ("the team, and 1 role in projects",),
    "/admin/roles/releaser": ("Nobody has it at present.",),
}


async def test_what_is_deleted_for_good_is_named_and_asks_for_its_name(team: Registry) -> None:
    """A user, robot, team or role can't be brought back: no slip of the mouse may delete one."""
    devs = await team.write(create_team, name="devs")
    owner = await team.services.catalog.read(get_account, "owner")
    await team.write(lambda c, by, **more: add_member(c, by, devs, owner.id, "owner", **more))
    acme = await team.services.catalog.read(get_project, "acme")
    await team.write(add_grant, project_id=acme.id, role_name="puller", team_id=devs.id)
    await team.write(create_role, name="releaser", actions=["push"])
    await visit(team, "owner")
    root = await visit(team, "root")
    for page, said in GONE_FOR_GOOD.items():
        name = page.rpartition("/")[2]
        shown = words(await root.get(page))
        assert all(part in shown for part in said), (page, shown)
        for typed in ("", name[:-1], name.upper()):
            refused = await root.post(f"{page}/delete", confirm=typed)
            assert refused.status_code == 400, (page, typed)
            assert f"Type {name} to delete it." in words(refused)
            assert re.search(r'<input id="f-confirm"[^>]* autofocus', refused.text), "it is far below"
        assert (await root.get(page)).status_code == 200
        assert (await root.post(f"{page}/delete", confirm=f" {name} ")).status_code == 303
        assert (await root.get(page)).status_code == 404, page


async def test_a_role_that_somebody_has_says_where(team: Registry) -> None:
    await team.write(create_role, name="releaser", actions=["push"])
    acme = await team.services.catalog.read(get_project, "acme")
    stranger = await team.services.catalog.read(get_account, "stranger")
    await team.write(add_grant, project_id=acme.id, role_name="releaser", principal_id=stranger.id)
    root = await visit(team, "root")
    page = await root.get("/admin/roles/releaser")
    assert "Not possible yet: it is given in acme ." in words(page)
    assert 'href="/projects/acme/members"' in page.text
    assert (await root.post("/admin/roles/releaser/delete", confirm="releaser")).status_code == 409


async def test_search_finds_while_typing_only_what_one_may_see(team: Registry) -> None:
    found = (await (await visit(team, "viewer")).get("/search.json?q=app")).json()
    assert {item["name"] for item in found} == {"acme/app", "open/app", "staff/app"}
    assert found[0]["url"].startswith("/repositories/")
    hidden = (await (await visit(team, "stranger")).get("/search.json?q=app")).json()
    assert {item["name"] for item in hidden} == {"open/app", "staff/app"}


async def test_refusals_say_what_to_do(team: Registry) -> None:
    stranger = await visit(team, "stranger")
    answer = await stranger.get("/projects/acme/members")
    assert answer.status_code == 403
    assert "Ask an owner of the project" in words(answer)
    assert "stranger may not read-members on acme" in words(answer)
    typed = await stranger.get("/open/app:v1")
    assert typed.status_code == 404
    assert 'href="/repositories/open/app"' in typed.text
    assert (await stranger.get("/api/v1/nowhere")).headers["content-type"] == "application/problem+json"


async def test_address_without_a_page_knows_its_visitor(team: Registry) -> None:
    lost = words(await (await visit(team, "viewer")).get("/nowhere/at/all"))
    assert "You are signed in as viewer" in lost
    assert "Sign in" in words(await (await visit(team, None)).get("/repositories/acme/app/-/nothing"))


async def test_new_registry_says_how_its_first_password_is_chosen(registry: Registry) -> None:
    nobody = await visit(registry, None)
    assert "Sign in to see" in words(await nobody.get("/"))
    forget = update(principal).values(password_hash=None)
    await registry.services.catalog.write(lambda connection: connection.execute(forget) and None)
    assert "entrepot admin user password admin --link" in words(await nobody.get("/"))


async def test_both_mistakes_of_a_new_password_are_told_at_once(registry: Registry) -> None:
    nobody = await visit(registry, None)
    fields = {"token": registry.setup, "password": "short", "repeat": "shart"}
    answer = await nobody.post("/setup", **fields)
    assert 'id="e-password"' in answer.text
    assert 'id="e-repeat"' in answer.text


async def test_unknown_colleague_comes_with_the_next_step(team: Registry) -> None:
    wanted = {**ROLE, "kind": "user", "name": "new-colleague"}
    owner = words(await (await visit(team, "owner")).post("/projects/acme/members", **wanted))
    assert "Ask an admin to make the account" in owner
    root = words(await (await visit(team, "root")).post("/projects/acme/members", **wanted))
    assert "Make the account first" in root


async def test_labels_are_found_by_those_who_may_see_what_carries_them(team: Registry) -> None:
    owner = await visit(team, "owner")
    about = {"description": "", "readme": "", "labels": "secret-plan", "version": "0"}
    assert (await owner.post("/repositories/acme/app/-/settings", **about)).status_code == 303
    [label, *_] = (await owner.get("/search.json?q=secr")).json()
    assert (label["kind"], label["url"]) == ("label", "/?label=secret-plan")
    assert (await (await visit(team, "stranger")).get("/search.json?q=secr")).json() == []


async def test_audit_log_of_a_project_has_all_that_is_in_it(team: Registry) -> None:
    root = await visit(team, "root")
    found = words(await root.get("/admin/audit?repository=acme"))
    assert "create-tag acme/ app:v1" in found
    assert "open/ app" not in found
    assert "create-tag acme/ app:v1" in words(await root.get("/admin/audit?repository=acme/app"))


async def test_changed_role_that_is_wrong_is_shown_again(team: Registry) -> None:
    root = await visit(team, "root")
    made = {"name": "releaser", "existing": "", "description": "", "actions": ["pull", "push"]}
    assert (await root.post("/admin/roles", **made)).status_code == 303
    wrong = await root.post("/admin/roles", name="releaser", existing="releaser", description="now")
    assert "Tick at least one action" in wrong.text
    assert 'name="existing" value="releaser"' in wrong.text


async def test_users_are_found_by_part_of_a_name(team: Registry) -> None:
    root = await visit(team, "root")
    found = words(await root.get("/admin/users?find=MAIN"))
    assert "maintainer" in found
    assert "stranger" not in found


async def test_jobs_tell_how_each_kind_went_and_when_it_comes(team: Registry) -> None:
    root = await visit(team, "root")
    assert (await root.post("/admin/jobs", kind="gc")).status_code == 303
    page = words(await root.get("/admin/jobs"))
    assert "Removes what nothing refers to" in page
    assert "just now Run now" in page


@pytest.mark.parametrize(
    ("path", "meant"),
    [("/acme/nothing", "acme/nothing"), ("/projects/absent", None), ("/repositories/acme/nothing", None)],
)
async def test_a_missing_page_offers_the_repository_that_may_be_meant(
    team: Registry, path: str, meant: str | None
) -> None:
    answer = await (await visit(team, "root")).get(path)
    assert answer.status_code == 404
    assert ("Looking for the repository?" in answer.text) == (meant is not None)
    assert meant is None or f'href="/repositories/{meant}"' in answer.text


async def test_links_to_a_deleted_tag_lead_to_its_way_back(team: Registry) -> None:
    await team.push("acme/app", "v1.2", files={"a": b"1"})
    assert (await team.call("DELETE", "/v2/acme/app/manifests/v1.2", "root")).status_code == 202
    root = await visit(team, "root")
    links = re.findall(r'href="(/repositories/acme/app/-/tags/v1\.2[^"]*)"', (await root.get("/")).text)
    assert links
    for link in {*links, "/repositories/acme/app/-/tags/v1.2"}:
        answer = await root.get(link)
        if answer.status_code == 303:
            answer = await root.get(answer.headers["location"])
        assert answer.status_code == 200, link
        assert "Put it back" in answer.text, link


@pytest.mark.parametrize(
    "below", ["tags/none", "tags/none/history", "manifests/sha256:" + "0" * 64, "nowhere"]
)
async def test_what_is_missing_in_a_repository_leads_back_to_it(team: Registry, below: str) -> None:
    answer = await (await visit(team, "puller")).get(f"/repositories/acme/app/-/{below}")
    assert answer.status_code == 404
    assert 'class="button primary" href="/repositories/acme/app"' in answer.text


async def test_nobody_is_sent_to_an_owner_who_could_not_help(team: Registry) -> None:
    owner = await visit(team, "owner")
    await team.write(set_read_only, True)
    held = words(await owner.post("/repositories/acme/app/-/delete", name="acme/app"))
    assert "Read-only for now" in held
    root = await visit(team, "root")
    assert "refused read-only in Settings" in words(await root.get("/admin"))
    await team.write(set_read_only, False)
    answer = await owner.post("/repositories/acme/app/-/star", _csrf="of an older session", star="yes")
    assert answer.status_code == 403
    assert "That form was too old" in words(answer)
    assert "Ask an owner" not in held + words(answer)


async def test_only_the_shown_platform_is_chosen(team: Registry) -> None:
    """Also where several platforms share one image."""
    made = await team.push("acme/app", "v2")
    many = [(made, {"os": f"os{n}", "architecture": "amd64"}) for n in range(20)]
    headers = {"content-type": OCI_INDEX}
    path = "/v2/acme/app/manifests/many"
    assert (await team.call("PUT", path, "root", content=index(many), headers=headers)).status_code == 201
    page = (
        await (await visit(team, "owner")).get("/repositories/acme/app/-/tags/many?platform=os7/amd64")
    ).text
    assert re.findall(r"<option[^>]* selected>([^<]*)", page) == ["os7/amd64"]


async def test_an_empty_list_of_other_registries_says_how_it_fills(team: Registry) -> None:
    page = words(await (await visit(team, "root")).get("/upstreams"))
    assert "access.registries" in page
    assert "/api/v1/upstreams/SERVICE/events" in page


async def test_the_last_owner_and_oneself_are_removed_after_a_question(team: Registry) -> None:
    """One click took a project from its only owner, who then could not undo it."""
    owner = await visit(team, "owner")
    page = (await owner.get("/projects/acme/members")).text
    found = re.search(
        r'name="grant" value="(\d+)"><button class="danger" aria-label="Remove owner as owner"', page
    )
    assert found
    for who in ("owner", "root"):
        asked = await (await visit(team, who)).post("/projects/acme/members/remove", grant=found[1])
        assert asked.status_code == 409
        assert "Owner is the last owner of acme." in words(asked)
        assert 'name="sure" value="yes"' in asked.text
    assert (await owner.get("/projects/acme/members")).status_code == 200
    done = await owner.post("/projects/acme/members/remove", grant=found[1], sure="yes")
    assert done.status_code == 303
    assert (await owner.get("/projects/acme/members")).status_code != 200


async def test_others_are_removed_at_once(team: Registry) -> None:
    owner = await visit(team, "owner")
    page = (await owner.get("/projects/acme/members")).text
    found = re.search(r'name="grant" value="(\d+)"><button class="danger" aria-label="Remove viewer', page)
    assert found
    done = await owner.post("/projects/acme/members/remove", grant=found[1])
    assert done.status_code == 303
