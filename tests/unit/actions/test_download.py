"""A file a user named by its web address."""

import pytest

from entrepot.actions.download import MAX_REDIRECTS, DownloadFailed, open_url
from entrepot.client.settings import ClientSettings
from tests.support.lying_registry import Reply, Request, lying_registry


def answer(request: Request) -> Reply:
    if request.path == "/moved":
        return Reply(302, {"Location": "/file"})
    if request.path == "/round":
        return Reply(302, {"Location": "/round"})
    if request.path == "/short":
        return Reply(200, {"Content-Length": "100"}, b"half", cut=True)
    return Reply(200, {}, b"content") if request.path == "/file" else Reply(404)


def test_the_bytes_come_also_from_where_the_address_leads(settings: ClientSettings) -> None:
    with lying_registry(answer) as server:
        for path in ("file", "moved"):
            with open_url(f"http://{server.host}/{path}", settings=settings) as file:
                assert file.read() == b"content"


def test_what_is_no_whole_file_is_an_error(settings: ClientSettings) -> None:
    with lying_registry(answer) as server:
        for path, said in (("none", "answered 404"), ("round", f"more than {MAX_REDIRECTS} times")):
            with (
                pytest.raises(DownloadFailed, match=said),
                open_url(f"http://{server.host}/{path}", settings=settings),
            ):
                pass
        with (
            open_url(f"http://{server.host}/short", settings=settings) as file,
            pytest.raises(DownloadFailed, match="broke off"),
        ):
            file.read()
