"""Take the pictures of docs/pages.md anew, light and dark: `.venv/bin/python scripts/screenshots.py`.

Needs Chromium. A registry is started for it with a team, its images and a week of history.
"""

import json
import random
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from tests.browser.conftest import ARGUMENTS, PASSWORD, Site, put  # noqa: E402
from tests.support.images import (  # noqa: E402
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    digest_of,
    image,
    index,
    push_blob,
    push_image,
)
from tests.support.programs import require_program  # noqa: E402
from tests.support.server import RunningServer, running_server  # noqa: E402

SHOTS = ROOT / "docs" / "screenshots"
SIZE = {"width": 1120, "height": 720}
PHONE = {"width": 390, "height": 760}
EMPTY = b"{}"
ACCEPT = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"}
HOUR = 3_600 * 1_000_000
WEEK = 7 * 24 * HOUR
STEPS = (
    "/bin/sh -c #(nop) ADD file:5a7bb2c1 in / ",
    "RUN /bin/sh -c apt-get update && apt-get install -y ca-certificates curl # buildkit",
    "COPY --from=builder /usr/local/lib/python3.13/site-packages /usr/local/lib/python3.13/site-packages",
    "COPY . /srv/app # buildkit",
)
README = """# Shop

What customers see. Listens on **8080**, metrics on 9090.

```sh
docker run -p 8080:8080 registry.example/acme/shop
```
"""


def build(number: int, architecture: str = "amd64") -> Image:
    """Version `number` of the shop: its base and system packages stay the same."""
    sizes = ("base", 6_400_000), ("system", 2_100_000), (f"packages {number // 3}", 1_300_000)
    sizes = (*sizes, (f"app {number}", 400_000 + 21_000 * number))
    layers = [{name: random.Random(name + architecture).randbytes(size)} for name, size in sizes]
    made = image(
        layers,
        architecture=architecture,
        config={
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"VERSION=2.{number}.0", "LANG=C.UTF-8"],
            "Entrypoint": ["/srv/app/serve"],
            "Cmd": ["--port", "8080"],
            "User": "app",
            "WorkingDir": "/srv/app",
            "ExposedPorts": {"8080/tcp": {}, "9090/tcp": {}},
            "Labels": {"org.opencontainers.image.source": "https://git.example/acme/shop"},
        },
    )
    manifest = json.loads(made.manifest)
    config = json.loads(made.blobs[made.config_digest])
    config["history"] = [{"created_by": step} for step in STEPS]
    raw = json.dumps(config).encode()
    manifest["config"] |= {"digest": digest_of(raw), "size": len(raw)}
    blobs = {digest: data for digest, data in made.blobs.items() if digest != made.config_digest}
    return Image(json.dumps(manifest).encode(), made.media_type, {**blobs, digest_of(raw): raw})


def fill(site: Site) -> None:
    api = site.api
    for name, visibility in (("acme", "private"), ("base", "public"), ("tools", "signed-in")):
        api("POST", "/projects", {"name": name, "visibility": visibility, "quota_bytes": 20_000_000_000})
    for name in ("alice", "bob", "carol"):
        api("POST", "/users", {"name": name, "password": PASSWORD, "display_name": name.title()})
    api("POST", "/teams", {"name": "developers", "description": "Everyone who writes code"})
    for grant in (
        {"principal": "alice", "role": "maintainer"},
        {"team": "developers", "role": "developer"},
        {"principal": "bob", "role": "developer", "repositories": "acme/billing/**", "tags": "v*"},
        {"principal": "carol", "role": "viewer"},
    ):
        api("POST", "/projects/acme/grants", grant)
    secret = api("POST", "/projects/acme/robots", {"name": "ci", "role": "developer"})["secret"]
    api("POST", "/projects/acme/robots", {"name": "cluster", "role": "puller"})
    small = [image([{"base": random.Random(n).randbytes(700_000 * (n + 1))}]) for n in range(4)]
    with closing(site.wire("admin")) as admin:
        push_image(admin, "base/python", "3.13", small[0])
        push_image(admin, "base/python", "3.13-slim", small[1])
        push_image(admin, "tools/backup", "v4", small[2])
    with closing(site.wire("acme+ci", secret)) as ci:
        push_image(ci, "acme/billing/invoices", "v1.4", small[3])
        for number in range(1, 6):
            push_image(ci, "acme/shop", f"v2.{number}", build(number))
            push_image(ci, "acme/shop", "latest", build(number))
        kinds = [(build(6, a), {"os": "linux", "architecture": a}) for a in ("amd64", "arm64")]
        for made, platform in kinds:
            push_image(ci, "acme/shop", f"build-{platform['architecture']}", made)
        for tag in ("v2.6", "latest"):
            put(ci, "acme/shop", tag, index(kinds), OCI_INDEX)
        push_blob(ci, "acme/shop", EMPTY)
        for kind in ("application/spdx+json", "application/vnd.dev.sigstore.bundle.v0.3+json"):
            about = {
                "mediaType": OCI_MANIFEST,
                "digest": kinds[0][0].digest,
                "size": len(kinds[0][0].manifest),
            }
            empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(EMPTY), "size": 2}
            raw = json.dumps(
                {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": empty}
                | {
                    "layers": [],
                    "subject": about,
                    "annotations": {"made.by": "the build"},
                }
            ).encode()
            put(ci, "acme/shop", digest_of(raw), raw, OCI_MANIFEST)
    with closing(site.wire("admin")) as admin:
        for tag in ("build-amd64", "build-arm64", "v2.1"):
            admin("DELETE", f"/v2/acme/shop/manifests/{tag}")
        for tag, times in (("latest", 41), ("v2.5", 12), ("v2.6", 23)):
            for _ in range(times):
                admin(
                    "GET",
                    f"/v2/acme/shop/manifests/{tag}",
                    headers={"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"},
                )
        profile = {"description": "The shop: storefront and checkout", "labels": ["python", "team/web"]}
        api("PATCH", "/repositories/acme%2Fshop", {**profile, "readme": README})
        api("PATCH", "/repositories/base%2Fpython", {"description": "Python on Debian", "labels": ["python"]})


def age(server: RunningServer) -> None:
    """As if it had happened during the last week, the latest an hour ago."""
    with closing(sqlite3.connect(server.data / "catalog.db")) as catalog, catalog:
        for table in ("tag_event", "audit"):
            [top] = catalog.execute(f"SELECT max(seq) FROM {table}").fetchone()
            catalog.execute(f"UPDATE {table} SET at = at - {HOUR} - ({top} - seq) * {WEEK} / {top}")
        moves = "FROM tag_event e WHERE e.repo_id = "
        catalog.executescript(
            f"""
            UPDATE tag SET updated_at = (SELECT max(at) {moves} tag.repo_id AND e.name = tag.name);
            UPDATE manifest SET pushed_at = coalesce(
              (SELECT min(at) {moves} manifest.repo_id AND e.new = manifest.digest), pushed_at);
            UPDATE repo SET pushed_at = (SELECT max(at) {moves} repo.id);
            UPDATE access_grant SET created_at = created_at - {WEEK};
            UPDATE principal SET created_at = created_at - {WEEK};
            """
        )


def take(page: Page, name: str) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=SHOTS / f"{name}-{scheme}.png", animations="disabled")
    print(name)


def take_push(site: Site, page: Page) -> None:
    """While a layer arrives."""
    page.goto("/repositories/acme/shop")
    over = threading.Event()

    def layer() -> Iterator[bytes]:
        for _ in range(60):
            yield b"x" * 700_000
            if over.wait(0.2):
                return

    def push() -> None:
        with closing(site.wire("admin")) as wire:
            begun = wire("POST", "/v2/acme/shop/blobs/uploads/")
            chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}
            wire("PATCH", begun.headers["location"], body=layer(), headers=chunked, chunked=True)
            wire("DELETE", begun.headers["location"])

    request = threading.Thread(target=push)
    request.start()
    page.get_by_text("/s", exact=False).filter(has_text="so far").wait_for()
    take(page, "push")
    over.set()
    request.join()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        env = {"ENTREPOT_ACCESS_MODE": "accounts"}
        with running_server(Path(folder), env=env, workers=1) as server:
            browser = started.chromium.launch(executable_path=require_program("chromium"), args=ARGUMENTS)
            site = Site(server, browser)
            page = site.visitor(viewport=SIZE).new_page()
            page.goto(site.setup_link)
            take(page, "setup")
            site.become_admin()
            fill(site)
            server.stop()
            age(server)
            server.start()
            page = site.visitor("admin", viewport=SIZE, reduced_motion="reduce").new_page()
            shop = "/repositories/acme/shop"
            for name, path in (
                ("home", "/"),
                ("repository", shop),
                ("image", f"{shop}/-/tags/v2.6"),
                ("compare", f"{shop}/-/compare?from=v2.4&to=v2.5"),
                ("history", f"{shop}/-/tags/latest/history"),
                ("members", "/projects/acme/members"),
                ("audit", "/admin/audit?repository=acme"),
                ("health", "/admin"),
                ("jobs", "/admin/jobs"),
                ("explain", "/admin/explain?user=bob&action=push&on=acme/shop:v2.7"),
            ):
                page.goto(path)
                take(page, name)
            page.goto("/projects/acme/robots")
            page.get_by_label("Name", exact=True).fill("deploy")
            page.get_by_role("button", name="Create robot").click()
            page.locator(".secret").wait_for()
            take(page, "robot")
            page.goto("/")
            page.locator("#q").press_sequentially("py")
            page.get_by_role("option").first.wait_for()
            take(page, "search")
            take_push(site, page)
            phone = site.visitor("admin", viewport=PHONE).new_page()
            phone.goto(shop)
            take(phone, "phone")
            phone.goto(f"{shop}/-/tags/v2.6")
            take(phone, "phone-image")
            browser.close()


if __name__ == "__main__":
    main()
