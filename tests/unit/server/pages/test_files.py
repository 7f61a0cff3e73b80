"""The files of an image in the browser: what is in them is shown and never run."""

import pytest

from entrepot.server.control.contents import index_settings
from entrepot.server.insight.indexer import Indexer
from tests.support import tarballs
from tests.unit.server.api.conftest import Registry
from tests.unit.server.pages.conftest import Person, visit, words

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
BASE = tarballs.archive(
    tarballs.directory(b"etc/"),
    tarballs.file(b"etc/conf", b"first\n<script>alert(1)</script>\n\x1b[31mred \xe2\x80\xaetxt.exe\n"),
    tarballs.file(b"logo.png", PNG),
    tarballs.file(b"page.html", b"<html><script>alert(1)</script>"),
    tarballs.file(b"pic.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    tarballs.file(b"\xff\xfe<img src=x onerror=alert(1)>", b"\x00\x01"),
    tarballs.symlink(b"link", b"etc"),
    tarballs.file(b"big", b"x" * 100_000),
)
TOP = tarballs.archive(tarballs.file(b"big", b"y" * 100_000), tarballs.file(b"etc/new", b"new\n"))


async def looked_at(team: Registry, *layers: bytes, tag: str = "v2") -> str:
    made = await team.push("acme/app", tag, files=layers)
    services = team.services
    await Indexer(services.catalog, services.store, index_settings(services.config)).run()
    return f"/repositories/acme/app/-/manifests/{made.digest}"


@pytest.fixture
async def puller(team: Registry) -> Person:
    return await visit(team, "puller")


async def test_folders_are_walked_by_links(team: Registry, puller: Person) -> None:
    base = await looked_at(team, BASE)
    page = await puller.get(f"{base}/files")
    assert page.status_code == 200
    assert "<img src=x" not in page.text
    assert "\\xff\\xfe&lt;img src=x onerror=alert(1)&gt;" in page.text
    assert 'path=%2F%FF%FE%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E"' in page.text
    assert "100 kB" in words(page) or "100.0 kB" in words(page) or "97.7 KiB" in words(page)
    inside = await puller.get(f"{base}/files?path=%2Flink")
    assert "conf" in words(inside)
    deep = await puller.get(f"{base}/files?view=all&order=size")
    assert "/etc/conf" in words(deep)
    odd = await puller.get(f"{base}/files?path=%2F%FF%FE%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E")
    assert "This is no text" in words(odd)


async def test_text_has_numbered_lines_and_nothing_hidden(team: Registry, puller: Person) -> None:
    base = await looked_at(team, BASE)
    page = await puller.get(f"{base}/files?path=/etc/conf")
    assert 'id="L2"' in page.text
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "\\x1b[31mred \\u202etxt.exe" in page.text


@pytest.mark.parametrize("name", ["page.html", "pic.svg", "etc/conf"])
async def test_what_browsers_would_run_leaves_as_an_attachment(
    team: Registry, puller: Person, name: str
) -> None:
    base = await looked_at(team, BASE)
    for show in ("", "&show=picture"):
        answer = await puller.get(f"{base}/raw?path=/{name}{show}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["content-security-policy"].startswith("sandbox; ")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_picture_is_shown_from_its_own_address(team: Registry, puller: Person) -> None:
    base = await looked_at(team, BASE)
    page = await puller.get(f"{base}/files?path=/logo.png")
    assert '<img class="seen"' in page.text
    answer = await puller.get(f"{base}/raw?path=/logo.png&show=picture")
    assert (answer.headers["content-type"], answer.content) == ("image/png", PNG)
    assert answer.headers["content-disposition"] == "inline"


async def test_a_folder_is_taken_as_a_tar(team: Registry, puller: Person) -> None:
    import io
    import tarfile

    base = await looked_at(team, BASE)
    answer = await puller.get(f"{base}/tar?path=/etc")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == ["etc/conf"]


async def test_the_image_page_shows_sizes_and_waste(team: Registry, puller: Person) -> None:
    base = await looked_at(team, BASE, TOP)
    page = await puller.get(base)
    assert "Browse files" in words(page)
    assert 'class="bytes icicle"' in page.text
    assert "What is wasted" in words(page)
    tag = await puller.get("/repositories/acme/app/-/tags/v2/files?path=/etc")
    assert tag.status_code == 303
    assert tag.headers["location"] == f"{base}/files?path=%2Fetc"


async def test_comparing_shows_files(team: Registry, puller: Person) -> None:
    await looked_at(team, BASE, tag="one")
    await looked_at(team, BASE, TOP, tag="two")
    page = await puller.get("/repositories/acme/app/-/compare?from=one&to=two")
    assert "+ new /etc/new" in words(page)
    assert "changed /big" in words(page)


async def test_an_image_nobody_looked_into_says_so(team: Registry, puller: Person) -> None:
    made = await team.push("acme/app", "new", files=(BASE,))
    page = await puller.get(f"/repositories/acme/app/-/manifests/{made.digest}")
    assert "The files have not been listed yet" in words(page)
    files = await puller.get(f"/repositories/acme/app/-/manifests/{made.digest}/files")
    assert files.status_code == 404
    assert "have not been listed yet" in words(files)


@pytest.mark.parametrize("what", ["files", "raw?path=/etc/conf", "tar"])
async def test_who_may_not_pull_sees_nothing(team: Registry, what: str) -> None:
    base = await looked_at(team, BASE)
    for name in ("viewer", "stranger", None):
        person = await visit(team, name)
        answer = await person.get(f"{base}/{what}")
        assert answer.status_code in (303, 401, 403, 404)
        assert "first" not in answer.text
