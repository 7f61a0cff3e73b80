"""Harbor, Quay and Docker Hub as their API documents describe them, before a real registry with content."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Portal(ThreadingHTTPServer):
    """Answers `pages` (path with query → document); `/v2/` is the registry's on `content_port`."""

    daemon_threads = True

    def __init__(self, pages: Mapping[str, Any], content_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = pages
        self.content_port = content_port
        self.asked: list[tuple[str, str]] = []
        """Path and `Authorization` of each question."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Portal
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/v2/") and self.path not in self.server.pages:
            self._pass_on()
            return
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        found = self.server.pages.get(self.path)
        self._answer(404 if found is None else 200, json.dumps(found or {}).encode())

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, ""))
        found = self.server.pages.get(self.path)
        self._answer(404 if found is None else 200, json.dumps(found or {}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pass_on(self) -> None:
        there = http.client.HTTPConnection("127.0.0.1", self.server.content_port, timeout=60)
        with contextlib.closing(there):
            kept = {
                name: value for name, value in self.headers.items() if name.lower() in {"accept", "range"}
            }
            there.request(self.command, self.path, headers=kept)
            answer = there.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "date"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        pass


@contextlib.contextmanager
def portal(pages: Mapping[str, Any], content_port: int) -> Iterator[Portal]:
    made = Portal(pages, content_port)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


_H = "/api/v2.0"
_LIST = "page=1&page_size=100"
HARBOR: Mapping[str, Any] = {
    f"{_H}/projects?{_LIST}": [
        {
            "project_id": 1,
            "name": "team",
            "metadata": {"public": "true", "retention_id": "3"},
            "repo_count": 1,
        },
        {"project_id": 2, "name": "hidden", "metadata": {"public": "false"}},
    ],
    f"{_H}/projects/team/repositories?{_LIST}": [{"id": 1, "name": "team/app", "description": "The app"}],
    f"{_H}/projects/hidden/repositories?{_LIST}": [{"id": 2, "name": "hidden/app", "description": ""}],
    f"{_H}/projects/team/members?{_LIST}": [
        {"id": 1, "entity_name": "ann", "entity_type": "u", "role_name": "maintainer"}
    ],
    f"{_H}/robots?q=Level%3Dproject%2CProjectID%3D1&{_LIST}": [{"id": 1, "name": "robot$team+ci"}],
    f"{_H}/projects/team/immutabletagrules?{_LIST}": [{"id": 1, "disabled": False}],
}
QUAY: Mapping[str, Any] = {
    "/api/v1/repository?namespace=team": {
        "repositories": [
            {"namespace": "team", "name": "app", "description": "The app", "is_public": True, "kind": "image"}
        ],
        "next_page": "more",
    },
    "/api/v1/repository?namespace=team&next_page=more": {
        "repositories": [{"namespace": "team", "name": "helm", "is_public": True, "kind": "application"}]
    },
    "/api/v1/organization/team/robots": {"robots": [{"name": "team+ci", "description": ""}]},
    "/api/v1/organization/team": {"name": "team", "teams": {"owners": {"role": "admin"}}},
}
HUB: Mapping[str, Any] = {
    "/v2/namespaces/team/repositories?page=1&page_size=100": {
        "count": 1,
        "next": None,
        "results": [{"name": "app", "namespace": "team", "description": "The app", "is_private": True}],
    },
}
