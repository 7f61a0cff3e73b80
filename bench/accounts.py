"""What accounts cost: pulls with a token, the token service, search and pages in a big catalog."""

import base64
import http.client
import json
import sqlite3
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from bench.cluster import _cpu_seconds as cpu_seconds
from bench.cluster import _database as database
from bench.cluster import _env as database_env
from bench.cluster import _new_database as new_database
from bench.frame import Bench, Figure, Row
from bench.load import wrk
from tests.integration.accounts.setup import setup_token
from tests.support.images import image, push_image
from tests.support.programs import require_program
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

PASSWORD = "correct horse battery"


def _with_accounts(bench: Bench, **more: str) -> RunningServer:
    env = {"ENTREPOT_ACCESS_MODE": "accounts", **more}
    return bench.closing.enter_context(running_server(bench.folder / "accounts", env=env))


def _api(
    server: RunningServer, method: str, path: str, body: Any = None, *, who: str | None = "admin"
) -> Any:
    headers = {"Content-Type": "application/json"}
    if who is not None:
        headers["Authorization"] = _basic(who, PASSWORD)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}/api/v1{path}", method=method, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def _basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def _set_up(server: RunningServer) -> str:
    """Choose the admin's password, make project acme and its robot; returns the robot's Basic header."""
    token = setup_token(server.log)
    _api(server, "POST", "/setup", {"token": token, "password": PASSWORD}, who=None)
    _api(server, "POST", "/projects", {"name": "acme"})
    return _robot(server, "ci")


def _robot(server: RunningServer, name: str = "more") -> str:
    """A robot of project acme; its Basic header."""
    robot = _api(server, "POST", "/projects/acme/robots", {"name": name, "role": "developer"})
    return _basic(f"acme+{name}", robot["secret"])


def _get(path: str, **headers: str) -> str:
    shown = ", ".join(f'["{name}"] = "{value}"' for name, value in {"Host": "localhost", **headers}.items())
    return f'request = function() return wrk.format("GET", "{path}", {{{shown}}}) end'


def _pulls(bench: Bench, name: str, closed: RunningServer, plain: RunningServer) -> Row:
    """Manifest GET with a bearer token from `closed`, beside the same from `plain` in open mode."""
    robot = _set_up(closed)
    with closing(Wire(closed.port, headers={"Authorization": robot, "Host": "localhost"})) as wire:
        push_image(wire, "acme/app", "v1", image())
        token = wire("GET", "/token?scope=repository:acme/app:pull").json()["token"]
    with closing(Wire(plain.port, headers={"Host": "localhost"})) as wire:
        push_image(wire, "acme/app", "v1", image())
    path = "/v2/acme/app/manifests/v1"
    values = bench.alternating(
        lambda: wrk(
            bench.folder, f"http://127.0.0.1:{closed.port}", _get(path, Authorization=f"Bearer {token}")
        ),
        lambda: wrk(bench.folder, f"http://127.0.0.1:{plain.port}", _get(path)),
    )
    return Row(name, "/s", *values, peer_name="open mode", bar="≥ 0.7×")


def pull_with_token(bench: Bench) -> Iterator[Row]:
    """Manifest GET with a bearer token, 16 connections, beside the same in open mode."""
    plain = bench.closing.enter_context(running_server(bench.folder / "open"))
    yield _pulls(bench, "manifest GET with a bearer token, 16 connections", _with_accounts(bench), plain)


def pull_with_token_on_postgresql(bench: Bench) -> Iterator[Row]:
    """The same with both catalogs on one PostgreSQL, then its token service."""
    port = database(bench)
    closed = _with_accounts(bench, **database_env(port, new_database(port)))
    open_env = database_env(port, new_database(port))
    plain = bench.closing.enter_context(running_server(bench.folder / "open", env=open_env))
    yield _pulls(bench, "manifest GET with a bearer token, PostgreSQL", closed, plain)
    robot = _robot(closed)
    yield _tokens(bench, "token for a robot's secret, PostgreSQL", closed, robot)


def tokens(bench: Bench) -> Iterator[Row]:
    """The token service with a robot's secret, 16 connections."""
    ours = _with_accounts(bench)
    yield _tokens(bench, "token for a robot's secret, 16 connections", ours, _set_up(ours))


def _tokens(bench: Bench, name: str, ours: RunningServer, robot: str) -> Row:
    script = _get("/token?service=localhost&scope=repository:acme/app:pull", Authorization=robot)
    [values] = bench.alternating(lambda: wrk(bench.folder, f"http://127.0.0.1:{ours.port}", script))
    return Row(name, "/s", values, bar="≥ 1500")


def _fill(data: Path, repositories: int, tags: int) -> None:
    """Rows as pushes would make them, without the bytes."""
    body = json.dumps({"schemaVersion": 2}).encode()
    with sqlite3.connect(data / "catalog.db") as catalog:
        catalog.execute("INSERT INTO project (name, created_at) VALUES ('big', 1)")
        [project] = catalog.execute("SELECT id FROM project WHERE name = 'big'").fetchone()
        catalog.executemany(
            "INSERT INTO repo (project_id, name, created_at, pushed_at) VALUES (?, ?, 1, 1)",
            [(project, f"big/team{n % 50}/service-{n}") for n in range(repositories)],
        )
        ids = [row[0] for row in catalog.execute("SELECT id FROM repo WHERE project_id = ?", (project,))]
        catalog.executemany(
            "INSERT INTO manifest (repo_id, digest, media_type, size, total_size, pushed_at, pushed_by, "
            "body) VALUES (?, ?, 'application/vnd.oci.image.manifest.v1+json', 20, 20, 1, 'bench', ?)",
            [(repo, f"sha256:{repo:064x}", body) for repo in ids],
        )
        each = tags // repositories
        catalog.executemany(
            "INSERT INTO tag (repo_id, name, digest, created_at, updated_at, updated_by) "
            "VALUES (?, ?, ?, 1, 1, 'bench')",
            [(repo, f"v{n}", f"sha256:{repo:064x}") for repo in ids for n in range(each)],
        )


def _fill_journal(data: Path) -> None:
    """Moves of tags and audit rows, as the pushes of `_fill` would have left them."""
    with sqlite3.connect(data / "catalog.db") as catalog:
        catalog.execute(
            "INSERT INTO tag_event (repo_id, name, old, new, at, by) "
            "SELECT repo_id, name, NULL, digest, created_at, 'bench' FROM tag"
        )
        catalog.execute(
            "INSERT INTO audit (at, principal, principal_kind, action, repository, tag, new) "
            "SELECT 1, 'bench', 'user', 'create-tag', repo.name, tag.name, tag.digest "
            "FROM tag JOIN repo ON repo.id = tag.repo_id"
        )


def pages(bench: Bench) -> Iterator[Row]:
    """Every kind of page over 10 000 repositories and 200 000 tags, signed in as the admin."""
    ours = _with_accounts(bench)
    _set_up(ours)
    _fill(ours.data, 10_000, 200_000)
    _fill_journal(ours.data)
    request = urllib.request.Request(
        f"{ours.url}/api/v1/session",
        method="POST",
        data=json.dumps({"name": "admin", "password": PASSWORD}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
    paths = [
        "/",
        "/?sort=name&page=50",
        "/projects",
        "/projects/big",
        "/projects/big?filter=service-77",
        "/projects/big/activity",
        "/projects/big/settings",
        "/repositories/big/team7/service-7",
        "/repositories/big/team7/service-7?sort=size",
        "/repositories/big/team7/service-7/-/tags/v3",
        "/repositories/big/team7/service-7/-/tags/v3/history",
        "/repositories/big/team7/service-7/-/activity",
        "/repositories/big/team7/service-7/-/compare?from=v1&to=v2",
        "/search?q=service-1",
        "/search.json?q=serv",
        "/account/tokens",
        "/admin",
        "/admin/users",
        "/admin/storage",
        "/admin/audit",
        "/admin/audit?repository=big/team7/service-7",
    ]
    sizes: list[float] = []

    def took_ms(connection: http.client.HTTPConnection, path: str) -> float:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, (path, answer.status)
        sizes.append(len(content) / 1000)
        return (time.perf_counter() - began) * 1000

    with closing(http.client.HTTPConnection("localhost", ours.port, timeout=60)) as connection:
        for _ in range(3):  # both workers have their templates
            for path in paths:
                took_ms(connection, path)
        each: dict[str, list[float]] = {}
        for _ in range(bench.rounds * 20):
            for path in paths:
                each.setdefault(path, []).append(took_ms(connection, path))
        cpu_ms = {path: _cpu_a_page(ours, lambda path=path: took_ms(connection, path)) for path in paths}
    slowest = {path: statistics.quantiles(values, n=20)[-1] for path, values in each.items()}
    name = max(slowest, key=lambda path: slowest[path])
    yield Row(
        f"the slowest of {len(paths)} pages, 95th percentile: {name}", "ms", [slowest[name]], bar="≤ 60"
    )
    yield Row(
        "all pages, 95th percentile",
        "ms",
        [statistics.quantiles([t for times in each.values() for t in times], n=20)[-1]],
        bar="≤ 60",
    )
    yield Row("search as you type, 95th percentile", "ms", [slowest["/search.json?q=serv"]], bar="≤ 50")
    dearest = max(cpu_ms, key=lambda path: cpu_ms[path])
    yield Row(f"CPU of the server a page, the dearest: {dearest}", "ms", [cpu_ms[dearest]])
    yield Row("CPU of the server a page, median of all", "ms", [statistics.median(cpu_ms.values())])
    yield Row("the biggest page", "kB", [max(sizes)], bar="≤ 100")
    yield Row("first paint in Chromium, home", "ms", _first_paints(ours, cookie, bench.rounds), bar="≤ 300")


def _cpu_a_page(server: RunningServer, ask: Callable[[], object], *, times: int = 20) -> float:
    """Milliseconds of CPU, which say the same on a busy machine."""
    assert server.process is not None
    before = cpu_seconds(server.process.pid)
    for _ in range(times):
        ask()
    return (cpu_seconds(server.process.pid) - before) * 1000 / times


def _first_paints(server: RunningServer, cookie: str, rounds: int) -> list[float]:
    """From asking for the page to the first pixels of it, with the style sheet in the browser's cache."""
    name, _, value = cookie.partition("=")
    asked = "performance.getEntriesByName('first-paint').map(entry => entry.startTime)[0]"
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=require_program("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(base_url=server.url)
        context.add_cookies([{"name": name, "value": value, "url": server.url}])
        page = context.new_page()
        page.goto("/")
        times = []
        for _ in range(rounds * 3):
            page.goto("/projects")
            page.goto("/")
            while (painted := page.evaluate(asked)) is None:  # waiting inside the page would need `eval`
                page.wait_for_timeout(10)
            times.append(float(painted))
        browser.close()
    return times


def search(bench: Bench) -> Iterator[Row]:
    """Search as you type: 10 000 repositories, 200 000 tags; 95th percentile of the time to answer."""
    ours = _with_accounts(bench)
    _set_up(ours)
    _fill(ours.data, 10_000, 200_000)
    terms = [
        "s",
        "se",
        "service-1",
        "service-99",
        "team7",
        "big/team3/service-",
        "service-1:v",
        "000123",
        "nothing",
    ]

    def slowest() -> float:
        took = []
        for _ in range(5):
            for term in terms:
                started = time.perf_counter()
                _api(ours, "GET", f"/search?q={term}")
                took.append((time.perf_counter() - started) * 1000)
        return statistics.quantiles(took, n=20)[-1]

    [values] = bench.alternating(slowest)
    yield Row("search, 10 000 repositories and 200 000 tags, 95th percentile", "ms", values, bar="≤ 50")


FIGURES: dict[str, Figure] = {
    "pull_with_token": pull_with_token,
    "pull_with_token_on_postgresql": pull_with_token_on_postgresql,
    "tokens": tokens,
    "account_search": search,
    "pages": pages,
}
