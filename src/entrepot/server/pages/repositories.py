"""A repository: its tags, README, history and settings; deleting tags, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from litestar import Response
from sqlalchemy import Connection, select

from entrepot.errors import EntrepotError, InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.errors import AccessDenied, VersionMismatch
from entrepot.server.access.decision.model import Action, PrincipalKind
from entrepot.server.access.directory.projects import get_project
from entrepot.server.control.content_queries import (
    RepositoryRow,
    get_repository,
    repository_sizes,
)
from entrepot.server.control.foreign import apart
from entrepot.server.control.page_queries import (
    Move,
    TagOrder,
    TagPage,
    list_deleted_tags,
    list_moves,
    page_of_tags,
)
from entrepot.server.control.profiles import change_profile, get_profile, is_starred, set_star
from entrepot.server.control.tombstones import delete_repository
from entrepot.server.db.tables import tag_event
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.commands import Command, past_commands, pull_commands, push_commands
from entrepot.server.pages.kit.configs import Platforms
from entrepot.server.pages.kit.form_body import LARGE
from entrepot.server.pages.kit.forms import Form
from entrepot.server.pages.kit.markdown import readme_html
from entrepot.server.pages.kit.paging import MAX_PAGE, pager
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Note, Visit
from entrepot.server.pages.kit.words import plural
from entrepot.server.repos.history import TagEvent
from entrepot.server.repos.manifestdelete import delete_tag

__all__ = ["ROUTES", "RepositoryHead", "repository_head"]

PAGE = 50
MOVES = 50
LATEST = "latest"
"""The tag whose command is shown where there is one."""
MAX_CHOSEN = 500
_platforms = Platforms()


@dataclass(frozen=True, slots=True)
class RepositoryHead:
    """What stands above each page of a repository."""

    row: RepositoryRow
    tab: str
    visibility: str
    starred: bool
    may_edit: bool
    may_delete_tags: bool
    may_restore: bool
    may_push: bool
    may_delete: bool

    @property
    def name(self) -> str:
        return self.row.name


async def repository_head(visit: Visit, name: str, tab: str) -> RepositoryHead:
    """Raises NotFound."""

    def read(connection: Connection) -> tuple[RepositoryRow, str, bool]:
        row = get_repository(connection, name)
        starred = is_starred(connection, row.id, visit.caller.principal.id)
        return row, get_project(connection, row.project).visibility, starred

    row, visibility, starred = await visit.read(read)
    rights = {
        word: await visit.may(action, repository=name)
        for word, action in (
            ("may_edit", Action.EDIT_REPOSITORY),
            ("may_delete_tags", Action.DELETE_TAG),
            ("may_restore", Action.RESTORE),
            ("may_push", Action.PUSH),
            ("may_delete", Action.DELETE_REPOSITORY),
        )
    }
    return RepositoryHead(row=row, tab=tab, visibility=visibility, starred=starred, **rights)


@page("/repositories/{repository:str}", Action.READ)
async def show(visit: Visit, repository: str) -> Response[Any]:
    """Tags, with the README below."""
    head = await repository_head(visit, repository, "tags")
    order = cast("TagOrder", visit.choice("sort", ("pushed", "name", "size", "pulls")))
    natural = "asc" if order == "name" else "desc"
    way = visit.query("way") if visit.query("way") in {"asc", "desc"} else natural
    contains = visit.query("filter", longest=128)
    number = min(max(1, visit.number("page", default=1)), MAX_PAGE)

    visible = await visit.visible()

    def read(connection: Connection) -> tuple[TagPage, tuple[str, str, int], tuple[int, int], Any]:
        tags = page_of_tags(
            connection,
            head.row.id,
            order=order,
            descending=way == "desc",
            contains=contains,
            offset=(number - 1) * PAGE,
            n=PAGE,
        )
        gone = list_deleted_tags(connection, head.row.id) if head.may_restore else []
        profile = get_profile(connection, head.row.id)
        return tags, profile, repository_sizes(connection, head.row.id, visible), gone

    tags, (_description, readme, _version), sizes, deleted = await visit.read(read)
    uploads = await visit.services.under_way.of_repository(head.row.id) if head.may_push else []

    def address(**changed: Any) -> str:
        wanted = {"sort": order, "way": way, "filter": contains, "page": number, **changed}
        if wanted["way"] == ("asc" if wanted["sort"] == "name" else "desc"):
            wanted["way"] = None
        if wanted["sort"] == "pushed":
            wanted["sort"] = None
        if wanted["page"] == 1:
            wanted["page"] = None
        return addresses.repository(repository, **wanted)

    names = [row.name for row in tags.tags]
    shown = LATEST if LATEST in names else next(iter(names), None)
    return visit.render(
        "repository.html",
        head=head,
        tags=tags.tags,
        platforms=await _platforms.of_tags(visit.services, head.row.id, tags.tags),
        order=order,
        way=way,
        contains=contains,
        pager=pager(number, PAGE, tags.total, lambda other: address(page=other)),
        address=address,
        readme=await apart(readme_html, readme) if readme.strip() else "",
        total_bytes=sizes[0],
        shared_bytes=sizes[1],
        deleted=deleted,
        uploads=uploads,
        pull=pull_commands(visit.host, repository, tag=shown) if shown else [],
        push=push_commands(visit.host, repository),
    )


@submit("/repositories/{repository:str}/-/delete-tags", Action.DELETE_TAG)
async def delete_tags(visit: Visit, repository: str) -> Response[Any]:
    """All chosen ones or none; the next page offers to take it back."""
    form = await visit.form()
    names = [parse_tag(name) for name in dict.fromkeys(form.many("tag"))]
    if not names:
        return visit.go(addresses.repository(repository), "No tag was chosen; tick those that should go.")
    if len(names) > MAX_CHOSEN:
        raise InvalidInput(f"{len(names)} tags are chosen; at most {MAX_CHOSEN} go at once")
    clock = visit.services.catalog.clock
    permit = visit.services.permit(visit.caller)

    def write(connection: Connection) -> tuple[int, int]:
        row = get_repository(connection, repository)
        for name in names:
            delete_tag(connection, repository, name, visit.caller, permit, clock.now(), clock.steady())
        numbers = connection.execute(
            select(tag_event.c.seq)
            .where(tag_event.c.repo_id == row.id, tag_event.c.new.is_(None))
            .order_by(tag_event.c.seq.desc())
            .limit(len(names))
        ).scalars()
        found = sorted(numbers)
        return found[0], found[-1]

    first, last = await visit.write(write)
    what = f"Tag {names[0]} is" if len(names) == 1 else f"{plural(len(names), 'tag')} are"
    note = Note(
        f"{what} deleted.",
        undo=addresses.repository(repository, "undo"),
        fields={"from": str(first), "to": str(last)},
    )
    return visit.go(addresses.repository(repository), note)


@submit("/repositories/{repository:str}/-/undo", Action.RESTORE)
async def undo(visit: Visit, repository: str) -> Response[Any]:
    """Tags deleted in these events come back; one that has a new meaning by now is left alone."""
    form = await visit.form()
    first, last = (int(form[key]) if form[key].isdigit() else 0 for key in ("from", "to"))
    if not 0 < first <= last < first + 100 * MAX_CHOSEN:
        raise InvalidInput("there is nothing to take back here")

    def read(connection: Connection) -> list[tuple[str, str]]:
        row = get_repository(connection, repository)
        found = connection.execute(
            select(tag_event.c.name, tag_event.c.old).where(
                tag_event.c.repo_id == row.id,
                tag_event.c.seq.between(first, last),
                tag_event.c.new.is_(None),
                tag_event.c.old.is_not(None),
            )
        )
        return [(name, old) for name, old in found.all()]

    lost = await visit.read(read)
    back = 0
    for name, old in lost[:MAX_CHOSEN]:
        if await visit.services.manifests.head(repository, name) is None:
            await visit.services.history.restore_tag(
                repository,
                name,
                Digest.parse(old),
                actor=visit.caller,
                permit=visit.services.permit(visit.caller),
            )
            back += 1
    return visit.go(
        addresses.repository(repository),
        f"{plural(back, 'tag')} {'is' if back == 1 else 'are'} back." if back else "Nothing was missing.",
    )


@submit("/repositories/{repository:str}/-/restore-tag", Action.RESTORE)
async def restore_tag(visit: Visit, repository: str) -> Response[Any]:
    """Point a tag to something it pointed to before."""
    form = await visit.form()
    name = parse_tag(form.text("tag", required="Which tag?", longest=128))
    digest = Digest.parse(form.text("digest", required="To what?", longest=200))
    known = await visit.read(_was, repository, name, str(digest))
    if not known:
        raise NotFound(f"{repository}:{name} never was {digest.short}")
    old = await visit.services.history.restore_tag(
        repository, name, digest, actor=visit.caller, permit=visit.services.permit(visit.caller)
    )
    words = f"{name} points to {digest.short} again" + (f", in place of {old[7:19]}." if old else ".")
    return visit.go(addresses.repository(repository, "tags", name, "history"), words)


def _was(connection: Connection, repository: str, name: str, digest: str) -> bool:
    row = get_repository(connection, repository)
    query = select(tag_event.c.seq).where(
        tag_event.c.repo_id == row.id,
        tag_event.c.name == name,
        (tag_event.c.old == digest) | (tag_event.c.new == digest),
    )
    return connection.execute(query.limit(1)).first() is not None


@page("/repositories/{repository:str}/-/tags/{tag:str}/history", Action.READ)
async def history(visit: Visit, repository: str, tag: str) -> Response[Any]:
    """Where a tag has been, by whom, and the way back."""
    head = await repository_head(visit, repository, "tags")
    name = parse_tag(tag)
    events, more = await visit.services.history.of_tag(
        repository, name, before=visit.number("before") or None, n=MOVES
    )
    if not events and not visit.number("before"):
        raise NotFound(f"{repository} never had a tag {name}")
    present = await visit.services.manifests.head(repository, name)
    kept = await visit.read(_kept, head.row.id, {e.new for e in events} | {e.old for e in events})
    return visit.render(
        "tag_history.html",
        head=head,
        tag=name,
        events=events,
        present=str(present.digest) if present else None,
        kept=kept,
        past=_past(visit, repository, name, events),
        next=addresses.repository(repository, "tags", name, "history", before=events[-1].seq)
        if more
        else None,
    )


def _past(visit: Visit, repository: str, tag: str, events: Sequence[TagEvent]) -> list[Command]:
    """How to pull what the tag was before its last move, or is when it never moved."""
    before = next((event for event in events[1:] if event.new), events[0] if events else None)
    if before is None or before.new is None:
        return []
    return past_commands(visit.host, repository, tag, at=before.at, digest=before.new)


def _kept(connection: Connection, repo_id: int, digests: set[str | None]) -> set[str]:
    """Of these, the manifests that have not been collected."""
    from entrepot.server.db.tables import manifest

    wanted = [digest for digest in digests if digest]
    query = select(manifest.c.digest).where(manifest.c.repo_id == repo_id, manifest.c.digest.in_(wanted))
    return set(connection.execute(query).scalars())


@page("/repositories/{repository:str}/-/activity", Action.READ)
async def activity(visit: Visit, repository: str) -> Response[Any]:
    """What happened to its tags."""
    head = await repository_head(visit, repository, "activity")
    visible = await visit.visible()
    before = visit.number("before")

    def read(connection: Connection) -> list[tuple[int, Move]]:
        return list_moves(connection, visible, n=MOVES + 1, repo_id=head.row.id, before=before)

    moves = await visit.read(read)
    more = moves[MOVES - 1][0] if len(moves) > MOVES else None
    return visit.render(
        "repository_activity.html",
        head=head,
        moves=moves[:MOVES],
        next=addresses.repository(repository, "activity", before=more) if more else None,
    )


@page("/repositories/{repository:str}/-/uploads.json", Action.PUSH)
async def uploads_now(visit: Visit, repository: str) -> Response[Any]:
    """What is on its way, for the page to show while it is open."""
    row = await visit.read(get_repository, repository)
    found = await visit.services.under_way.of_repository(row.id)
    said = [{"by": one.principal, "bytes": one.bytes} for one in found]
    return Response(said, media_type="application/json", headers={"Cache-Control": "no-store"})


@submit("/repositories/{repository:str}/-/star", Action.READ)
async def star(visit: Visit, repository: str) -> Response[Any]:
    """Stars are one's own bookmarks."""
    await visit.services.require(visit.caller, Action.MANAGE_SELF, visit.resource())
    if visit.caller.principal.kind is not PrincipalKind.USER:
        raise AccessDenied("stars are for users who are signed in")
    wanted = (await visit.form())["star"] == "yes"

    def write(connection: Connection) -> None:
        row = get_repository(connection, repository)
        set_star(connection, row.id, visit.caller.principal.id, starred=wanted, now=visit.now)

    await visit.write(write)
    return visit.go(addresses.repository(repository))


@page("/repositories/{repository:str}/-/settings", Action.EDIT_REPOSITORY)
async def settings(visit: Visit, repository: str) -> Response[Any]:
    head = await repository_head(visit, repository, "settings")
    description, readme, version = await visit.read(get_profile, head.row.id)
    form = Form(
        description=description, readme=readme, labels=" ".join(head.row.labels), version=str(version)
    )
    return visit.render("repository_settings.html", head=head, form=form, confirm=Form())


@submit("/repositories/{repository:str}/-/settings", Action.EDIT_REPOSITORY, **{LARGE: True})
async def change_settings(visit: Visit, repository: str) -> Response[Any]:
    head = await repository_head(visit, repository, "settings")
    form = await visit.form()
    description = form.text("description", longest=300)
    readme = form.body("readme", longest=100_000)
    labels = form.text("labels", longest=2_000).replace(",", " ").split()
    version = int(form["version"]) if form["version"].isdigit() else 0
    if len(labels) > 50:
        form.refuse("labels", "At most 50 labels, please.")
    if form.is_good:
        try:
            await visit.write(_change, visit, head.row.id, repository, description, readme, labels, version)
            return visit.go(addresses.repository(repository), "Saved.")
        except VersionMismatch:
            form.problem = (
                "Somebody else saved meanwhile. What you typed is kept below; "
                "compare it with the page as it is now, then save again to replace that."
            )
            form = await _with_present_version(visit, form, head.row.id)
        except EntrepotError as error:
            form.blame(error, {InvalidInput: "labels"})
    return visit.render("repository_settings.html", status=400, head=head, form=form, confirm=Form())


def _change(
    connection: Connection,
    visit: Visit,
    repo_id: int,
    name: str,
    description: str,
    readme: str,
    labels: list[str],
    version: int,
) -> None:
    change_profile(
        connection,
        visit.caller,
        repo_id,
        name,
        now=visit.now,
        description=description,
        readme=readme,
        labels=labels,
        expected_version=version,
    )


async def _with_present_version(visit: Visit, form: Form, repo_id: int) -> Form:
    version = (await visit.read(get_profile, repo_id))[2]
    again = Form(
        description=form["description"], readme=form["readme"], labels=form["labels"], version=str(version)
    )
    again.problem = form.problem
    return again


@submit("/repositories/{repository:str}/-/delete", Action.DELETE_REPOSITORY)
async def remove(visit: Visit, repository: str) -> Response[Any]:
    """With its tags; it can be brought back until the undo window ends."""
    head = await repository_head(visit, repository, "settings")
    confirm = await visit.form()
    if confirm.text("name") != repository:
        confirm.refuse("name", f"Type {repository} to delete it.")
        description, readme, version = await visit.read(get_profile, head.row.id)
        form = Form(
            description=description, readme=readme, labels=" ".join(head.row.labels), version=str(version)
        )
        return visit.render("repository_settings.html", status=400, head=head, form=form, confirm=confirm)
    clock = visit.services.catalog.clock
    await visit.write(
        delete_repository,
        repository,
        visit.caller,
        visit.services.permit(visit.caller),
        clock.now(),
        clock.steady(),
    )
    project = head.row.project
    note = Note(
        f"{repository} is deleted.",
        undo=addresses.project(project, "restore-repository"),
        fields={"repository": repository},
    )
    return visit.go(addresses.project(project), note)


ROUTES = [
    show,
    delete_tags,
    undo,
    restore_tag,
    history,
    activity,
    uploads_now,
    star,
    settings,
    change_settings,
    remove,
]
