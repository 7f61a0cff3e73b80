"""`entrepot admin import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.places import say
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, write
from entrepot.wording import plural

if TYPE_CHECKING:
    from entrepot.server.control.moving import Carried, Compared, Left, Place

project_option = click.option(
    "--project", "projects", multiple=True, metavar="P", help="Only this one, as `team*`. Several times."
)
plan_option = click.option("--plan", is_flag=True, help="Change nothing; say what would come.")
verify_option = click.option(
    "--verify", is_flag=True, help="Change nothing; read and compare both sides, byte by byte."
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON.")


@click.group("import", short_help="Move in from another registry")
def import_() -> None:
    """Move in from another registry. It is only read, and may go on meanwhile.

    What is here already is not fetched again: run it as often as you like. What was pushed or deleted here
    since stays so.
    """


@import_.command("docker-registry", short_help="From the storage of Docker Registry (and Harbor)")
@click.argument("where", metavar="FOLDER|s3://BUCKET/PREFIX")
@plan_option
@verify_option
@click.option(
    "--source-retired",
    is_flag=True,
    help="Nobody will write there any more: files may be shared, not copied.",
)
@project_option
@json_option
@click.pass_context
def docker_registry(
    ctx: click.Context,
    where: str,
    plan: bool,
    verify: bool,
    source_retired: bool,
    projects: tuple[str, ...],
    as_json: bool,
) -> None:
    """Read the storage of a Docker Registry directly: its rootdirectory, or its bucket.

    Exit code 1 when something could not come; it says what, and why.
    """
    from entrepot.server.control.moving import RegistryStorage

    place = RegistryStorage(where, is_retired=source_retired)
    ctx.exit(_run(place, projects, plan=plan, verify=verify, as_json=as_json))


@import_.command("registry", short_help="From any registry, over its API")
@click.argument("url", metavar="https://HOST")
@plan_option
@verify_option
@click.option(
    "--repository",
    "names",
    multiple=True,
    metavar="NAME",
    help="This one; for registries that don't list what they have. Several times.",
)
@project_option
@json_option
@click.pass_context
def registry(
    ctx: click.Context,
    url: str,
    plan: bool,
    verify: bool,
    names: tuple[str, ...],
    projects: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fetch all that a registry lists and its account may read, signatures and other referrers included.

    Sign in first, as the user who runs this: `entrepot login HOST`. Exit code 1 when something could not
    come; it says what, and why.
    """
    from entrepot.server.control.moving import RegistryAddress

    ctx.exit(_run(RegistryAddress(url, names), projects, plan=plan, verify=verify, as_json=as_json))


@import_.command("harbor", short_help="From Harbor: projects, descriptions, content")
@click.argument("url", metavar="https://HOST")
@click.option("--namespace", "namespaces", multiple=True, metavar="PROJECT", help="Only this project.")
@plan_option
@verify_option
@json_option
@click.pass_context
def harbor(
    ctx: click.Context, url: str, namespaces: tuple[str, ...], plan: bool, verify: bool, as_json: bool
) -> None:
    """Fetch all projects that the account may see, with their visibility, descriptions and content.

    Sign in first, as the user who runs this: `entrepot login HOST`. Members, robots and rules are listed, to
    be made by hand.
    """
    ctx.exit(_portal("harbor", url, namespaces, None, plan=plan, verify=verify, as_json=as_json))


@import_.command("quay", short_help="From Quay: organizations, descriptions, content")
@click.argument("url", metavar="https://HOST")
@click.option("--namespace", "namespaces", multiple=True, metavar="ORGANIZATION", required=True)
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="An OAuth token of an application, for its API.",
)
@plan_option
@verify_option
@json_option
@click.pass_context
def quay(
    ctx: click.Context,
    url: str,
    namespaces: tuple[str, ...],
    token_file: str | None,
    plan: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Fetch organizations with their descriptions and content.

    Sign in first, as the user who runs this: `entrepot login HOST`. Robots and teams are listed, to be made
    by hand.
    """
    ctx.exit(_portal("quay", url, namespaces, token_file, plan=plan, verify=verify, as_json=as_json))


@import_.command("hub", short_help="From Docker Hub: namespaces, descriptions, content")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", required=True)
@click.option("--url", default="", hidden=True)
@click.option("--content", default="", hidden=True)
@plan_option
@verify_option
@json_option
@click.pass_context
def hub(
    ctx: click.Context,
    namespaces: tuple[str, ...],
    url: str,
    content: str,
    plan: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Fetch what namespaces of Docker Hub hold, with descriptions.

    Sign in first, as the user who runs this: `entrepot login`. Hub counts each image as a pull.
    """
    ctx.exit(
        _portal("hub", url, namespaces, None, content=content, plan=plan, verify=verify, as_json=as_json)
    )


def _portal(
    kind: str,
    url: str,
    namespaces: tuple[str, ...],
    token_file: str | None,
    *,
    content: str = "",
    plan: bool,
    verify: bool,
    as_json: bool,
) -> int:
    from entrepot.server.control.portals import PortalAddress, bring_portal, check_portal

    if plan and verify:
        raise click.UsageError("--plan and --verify can't be used together")
    token = Path(token_file).read_text().strip() if token_file else ""
    place = PortalAddress(kind, url, namespaces, token, content)
    if verify:
        compared = as_operator(lambda services, actor: check_portal(services, actor, place, say=say))
        return print_compared(compared, as_json=as_json)
    carried = as_operator(lambda services, actor: bring_portal(services, actor, place, plan=plan, say=say))
    return print_carried(carried, plan=plan, as_json=as_json)


def _run(place: Place, projects: tuple[str, ...], *, plan: bool, verify: bool, as_json: bool) -> int:
    from entrepot.server.control import moving

    if plan and verify:
        raise click.UsageError("--plan and --verify can't be used together")
    if verify:
        compared = as_operator(
            lambda services, actor: moving.check(services, actor, place, projects=projects, say=say)
        )
        return print_compared(compared, as_json=as_json)
    carried = as_operator(
        lambda services, actor: moving.bring(services, actor, place, projects=projects, plan=plan, say=say)
    )
    return print_carried(carried, plan=plan, as_json=as_json)


def print_carried(done: Carried, *, plan: bool, as_json: bool) -> int:
    """The exit code."""
    if as_json:
        write(
            json.dumps(
                {
                    "repositories": done.repositories,
                    "manifests": done.manifests,
                    "tags": done.tags,
                    "blobs": done.blobs,
                    "bytes": done.bytes,
                    "ways": dict(done.ways),
                    "unchanged": done.unchanged,
                    "unused": done.unused,
                    "left": _rows(done.left),
                    "by_hand": _rows(done.by_hand),
                }
            )
        )
        return FAILED if done.left else OK
    _print_left(done.left)
    if done.by_hand:
        write("to be made by hand:")
        for one in done.by_hand:
            write(f"  {one.what}: {one.why}")
    ways = ", ".join(f"{count} {way}" for way, count in sorted(done.ways.items()))
    write(
        f"{'would come' if plan else 'came'}:"
        f" {plural(done.manifests, 'manifest')}, {plural(done.tags, 'tag')},"
        f" {plural(done.blobs, 'blob')} ({human_size(done.bytes)}{'; ' + ways if ways and not plan else ''})"
        f" of {plural(done.repositories, 'repository', 'repositories')}; {done.unchanged} here before"
    )
    if done.unused:
        write(f"left there: {plural(done.unused, 'blob')} that no manifest refers to")
    return FAILED if done.left else OK


def print_compared(done: Compared, *, as_json: bool) -> int:
    """The exit code."""
    counts = {"tags": done.tags, "manifests": done.manifests, "blobs": done.blobs}
    if as_json:
        sides = {name: {"there": there, "here": here} for name, (there, here) in counts.items()}
        write(
            json.dumps(
                {
                    "repositories": done.repositories,
                    **sides,
                    "bytes": done.bytes,
                    "differences": _rows(done.differences),
                }
            )
        )
    else:
        _print_left(done.differences)
        write(
            f"{plural(done.repositories, 'repository', 'repositories')}: "
            + ", ".join(f"{here} of {there} {name} are here" for name, (there, here) in counts.items())
            + f"; {human_size(done.bytes)} read on both sides"
        )
    return FAILED if done.differences else OK


def _print_left(left: list[Left]) -> None:
    for one in left:
        write(f"{one.what}: {one.why}")


def _rows(left: list[Left]) -> list[dict[str, Any]]:
    return [{"what": one.what, "why": one.why} for one in left]
