"""A repository: its tags, README, history and settings; deleting tags, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from litestar import Response

from entrepot.errors import EntrepotError, InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.errors import VersionMismatch
from entrepot.server.access.decision.model import Action
from entrepot.server.control import deletion, repositories, tags
from entrepot.server.control.foreign import apart
from entrepot.server.control.platforms import Platforms
from entrepot.server.control.repositories import ListedRepository, RepositoryDetails
from entrepot.server.control.tags import TagEvent, TagOrder, TagRow
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.artifact_view import artifact_view
from entrepot.server.pages.kit.commands import Command, commands_for, past_commands, push_commands
from entrepot.server.pages.kit.form_body import LARGE
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.markdown import readme_html
from entrepot.server.pages.kit.paging import MAX_PAGE, pager
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Note, PageVisit
from entrepot.server.pages.kit.words import plural

__all__ = ["ROUTES", "RepositoryHead", "repository_head"]

PAGE = 50
MOVES = 50
LATEST = "latest"
"""The tag whose command is shown where there is one."""
_platforms = Platforms()


@dataclass(frozen=True, slots=True)
class RepositoryHead:
    """What stands above each page of a repository."""

    details: RepositoryDetails
    tab: str
    may_edit: bool
    may_delete_tags: bool
    may_restore: bool
    may_pull: bool
    may_push: bool
    may_delete: bool

    @property
    def row(self) -> ListedRepository:
        return self.details.row

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def visibility(self) -> str:
        return self.details.visibility

    @property
    def starred(self) -> bool:
        return self.details.starred


async def repository_head(visit: PageVisit, name: str, tab: str) -> RepositoryHead:
    """Raises NotFound."""

    details = await repositories.show_repository(visit.services, visit.caller, name)
    rights = {
        word: await visit.may(action, repository=name)
        for word, action in (
            ("may_edit", Action.EDIT_REPOSITORY),
            ("may_delete_tags", Action.DELETE_TAG),
            ("may_restore", Action.RESTORE),
            ("may_pull", Action.PULL),
            ("may_push", Action.PUSH),
            ("may_delete", Action.DELETE_REPOSITORY),
        )
    }
    return RepositoryHead(details=details, tab=tab, **rights)


@page("/repositories/{repository:str}", Action.READ)
async def show(visit: PageVisit, repository: str) -> Response[Any]:
    """Tags, with the README below."""
    head = await repository_head(visit, repository, "tags")
    order = cast("TagOrder", visit.choice("sort", ("pushed", "name", "size", "pulls")))
    natural = "asc" if order == "name" else "desc"
    way = visit.query("way") if visit.query("way") in {"asc", "desc"} else natural
    contains = visit.query("filter", longest=128)
    number = min(max(1, visit.number("page", default=1)), MAX_PAGE)

    found = await tags.page_of_tags(
        visit.services,
        visit.caller,
        repository,
        order=order,
        descending=way == "desc",
        contains=contains,
        offset=(number - 1) * PAGE,
        n=PAGE,
    )
    deleted = await tags.list_deleted_tags(visit.services, visit.caller, repository)
    readme = head.details.profile.readme
    uploads = []
    if head.may_push:
        uploads = await repositories.list_uploads(visit.services, visit.caller, repository)

    def address(**changed: Any) -> str:
        wanted = {"sort": order, "way": way, "filter": contains, "page": number, **changed}
        if wanted["way"] == ("asc" if wanted["sort"] == "name" else "desc"):
            wanted["way"] = None
        if wanted["sort"] == "pushed":
            wanted["sort"] = None
        if wanted["page"] == 1:
            wanted["page"] = None
        return addresses.repository(repository, **wanted)

    return visit.render(
        "repository.html",
        head=head,
        tags=found.tags,
        platforms=await _platforms.of_tags(visit.services, visit.caller, repository, found.tags),
        order=order,
        way=way,
        contains=contains,
        pager=pager(number, PAGE, found.total, lambda other: address(page=other)),
        address=address,
        readme=await apart(readme_html, readme) if readme.strip() else "",
        total_bytes=head.details.size_bytes,
        shared_bytes=head.details.shared_bytes,
        deleted=deleted,
        uploads=uploads,
        pull=await _pull_commands(visit, repository, found.tags) if head.may_pull else [],
        push=push_commands(visit.host, repository),
    )


async def _pull_commands(visit: PageVisit, repository: str, rows: list[TagRow]) -> list[Command]:
    """For `latest`, or the first of these tags."""
    row = next((row for row in rows if row.name == LATEST), next(iter(rows), None))
    if row is None:
        return []
    return commands_for(await apart(artifact_view, row.body), visit.host, repository, tag=row.name)


@submit("/repositories/{repository:str}/-/delete-tags", Action.DELETE_TAG)
async def delete_tags(visit: PageVisit, repository: str) -> Response[Any]:
    """All chosen ones or none; the next page offers to take it back."""
    form = await visit.form()
    names = [parse_tag(name) for name in dict.fromkeys(form.many("tag"))]
    if not names:
        return visit.go(addresses.repository(repository), "No tag was chosen; tick those that should go.")
    gone = await tags.delete_tags(visit.services, visit.caller, repository, names)
    what = f"Tag {names[0]} is" if len(names) == 1 else f"{plural(len(names), 'tag')} are"
    note = Note(
        f"{what} deleted.",
        undo=addresses.repository(repository, "undo"),
        fields={"from": str(gone.first), "to": str(gone.last)},
    )
    return visit.go(addresses.repository(repository), note)


@submit("/repositories/{repository:str}/-/undo", Action.RESTORE)
async def undo(visit: PageVisit, repository: str) -> Response[Any]:
    """Tags deleted in these events come back; one that has a new meaning by now is left alone."""
    form = await visit.form()
    first, last = (int(form[key]) if form[key].isdigit() else 0 for key in ("from", "to"))
    back = await tags.undo_deletion(visit.services, visit.caller, repository, tags.Deleted(first, last))
    return visit.go(
        addresses.repository(repository),
        f"{plural(back, 'tag')} {'is' if back == 1 else 'are'} back." if back else "Nothing was missing.",
    )


@submit("/repositories/{repository:str}/-/restore-tag", Action.RESTORE)
async def restore_tag(visit: PageVisit, repository: str) -> Response[Any]:
    """Point a tag to something it pointed to before."""
    form = await visit.form()
    name = parse_tag(form.text("tag", required="Which tag?", longest=128))
    digest = Digest.parse(form.text("digest", required="To what?", longest=200))
    old = await tags.restore_tag(visit.services, visit.caller, repository, name, digest)
    words = f"{name} points to {digest.short} again" + (f", in place of {old[7:19]}." if old else ".")
    return visit.go(addresses.repository(repository, "tags", name, "history"), words)


@page("/repositories/{repository:str}/-/tags/{tag:str}/history", Action.READ)
async def history(visit: PageVisit, repository: str, tag: str) -> Response[Any]:
    """Where a tag has been, by whom, and the way back."""
    head = await repository_head(visit, repository, "tags")
    name = parse_tag(tag)
    before = visit.number("before")
    found = await tags.history_of_tag(visit.services, visit.caller, repository, name, before=before, n=MOVES)
    events = found.events
    if not events and not before:
        raise NotFound(f"{repository} never had a tag {name}")
    return visit.render(
        "tag_history.html",
        head=head,
        tag=name,
        events=events,
        present=found.present,
        kept=found.kept,
        past=_past(visit, repository, name, events) if head.may_pull else [],
        next=addresses.repository(repository, "tags", name, "history", before=events[-1].seq)
        if found.more
        else None,
    )


def _past(visit: PageVisit, repository: str, tag: str, events: Sequence[TagEvent]) -> list[Command]:
    """How to pull what the tag was before its last move, or is when it never moved."""
    before = next((event for event in events[1:] if event.new), events[0] if events else None)
    if before is None or before.new is None:
        return []
    return past_commands(visit.host, repository, tag, at=before.at, digest=before.new)


@page("/repositories/{repository:str}/-/activity", Action.READ)
async def activity(visit: PageVisit, repository: str) -> Response[Any]:
    """What happened to its tags."""
    head = await repository_head(visit, repository, "activity")
    moves = await repositories.list_moves(
        visit.services, visit.caller, n=MOVES + 1, repository=repository, before=visit.number("before")
    )
    more = moves[MOVES - 1][0] if len(moves) > MOVES else None
    return visit.render(
        "repository_activity.html",
        head=head,
        moves=moves[:MOVES],
        next=addresses.repository(repository, "activity", before=more) if more else None,
    )


@page("/repositories/{repository:str}/-/uploads.json", Action.PUSH)
async def uploads_now(visit: PageVisit, repository: str) -> Response[Any]:
    """What is on its way, for the page to show while it is open."""
    found = await repositories.list_uploads(visit.services, visit.caller, repository)
    said = [{"by": one.principal, "bytes": one.bytes} for one in found]
    return Response(said, media_type="application/json", headers={"Cache-Control": "no-store"})


@submit("/repositories/{repository:str}/-/star", Action.READ)
async def star(visit: PageVisit, repository: str) -> Response[Any]:
    """Stars are one's own bookmarks."""
    wanted = (await visit.form())["star"] == "yes"
    await repositories.set_star(visit.services, visit.caller, repository, starred=wanted)
    return visit.go(addresses.repository(repository))


@page("/repositories/{repository:str}/-/settings", Action.EDIT_REPOSITORY)
async def settings(visit: PageVisit, repository: str) -> Response[Any]:
    head = await repository_head(visit, repository, "settings")
    form = _settings_form(head)
    return visit.render("repository_settings.html", head=head, form=form, confirm=PageForm())


@submit("/repositories/{repository:str}/-/settings", Action.EDIT_REPOSITORY, **{LARGE: True})
async def change_settings(visit: PageVisit, repository: str) -> Response[Any]:
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
            await repositories.change_profile(
                visit.services,
                visit.caller,
                repository,
                description=description,
                readme=readme,
                labels=labels,
                expected_version=version,
            )
            return visit.go(addresses.repository(repository), "Saved.")
        except VersionMismatch:
            form.problem = (
                "Somebody else saved meanwhile. What you typed is kept below; "
                "compare it with the page as it is now, then save again to replace that."
            )
            form = await _with_present_version(visit, form, repository)
        except EntrepotError as error:
            form.blame(error, {InvalidInput: "labels"})
    return visit.render("repository_settings.html", status=400, head=head, form=form, confirm=PageForm())


def _settings_form(head: RepositoryHead) -> PageForm:
    profile = head.details.profile
    return PageForm(
        description=profile.description,
        readme=profile.readme,
        labels=" ".join(head.row.labels),
        version=str(profile.version),
    )


async def _with_present_version(visit: PageVisit, form: PageForm, repository: str) -> PageForm:
    version = (await repositories.show_profile(visit.services, visit.caller, repository)).version
    again = PageForm(
        description=form["description"], readme=form["readme"], labels=form["labels"], version=str(version)
    )
    again.problem = form.problem
    return again


@submit("/repositories/{repository:str}/-/delete", Action.DELETE_REPOSITORY)
async def remove(visit: PageVisit, repository: str) -> Response[Any]:
    """With its tags; it can be brought back until the undo window ends."""
    head = await repository_head(visit, repository, "settings")
    confirm = await visit.form()
    if confirm.text("name") != repository:
        confirm.refuse("name", f"Type {repository} to delete it.")
        form = _settings_form(head)
        return visit.render("repository_settings.html", status=400, head=head, form=form, confirm=confirm)
    await deletion.delete_repository(visit.services, visit.caller, repository)
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
