"""Which packages a stack of layers has, and which layer brought each."""

import gzip
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from entrepot.inventory.packages.layer import LayerEvidence, read_layer, read_tree
from entrepot.inventory.packages.merge import Inventory, merge
from tests.support import tarballs
from tests.support.inventories import go_program, rpm_header, rpm_ndb, rpm_sqlite, rust_program

DPKG = b"""Package: openssl
Status: install ok installed
Architecture: amd64
Version: 3.0.11-1~deb12u2

Package: libc-bin
Status: install ok installed
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4
Architecture: amd64
Description: binaries
 Package: not-one

Package: gone
Status: deinstall ok config-files
Version: 1
"""
APK = b"""P:musl
V:1.2.5-r0
A:x86_64
L:MIT

P:ssl_client
V:1.36.1-r29
o:busybox
A:x86_64
F:usr/bin
R:ssl_client
F:usr/lib/python3/site-packages/six-1.0.dist-info
R:METADATA
"""


def layer(*entries: bytes) -> LayerEvidence:
    return read_layer(iter([tarballs.archive(*entries)]))


def file(name: str, data: bytes, mode: int = 0o644) -> bytes:
    return tarballs.file(name.encode(), data, mode=mode)


def named(inventory: Inventory) -> set[tuple[str, str, str]]:
    return {(f.package.ecosystem.value, f.package.name, f.package.version) for f in inventory.packages}


def jar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


POM = b"#comment\r\nversion=1.2.17\r\ngroupId=log4j\r\nartifactId=log4j\r\n"
PACKAGE_LOCK = json.dumps(
    {"lockfileVersion": 3, "packages": {"": {"name": "app"}, "node_modules/left-pad": {"version": "1.3.0"}}}
).encode()


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        (
            "var/lib/dpkg/status",
            DPKG,
            {("deb", "openssl", "3.0.11-1~deb12u2"), ("deb", "libc-bin", "2.36-9+deb12u4")},
        ),
        (
            "var/lib/dpkg/status.d/tzdata",
            b"Package: tzdata\nVersion: 2024a-0\n",
            {("deb", "tzdata", "2024a-0")},
        ),
        ("lib/apk/db/installed", APK, {("apk", "musl", "1.2.5-r0"), ("apk", "ssl_client", "1.36.1-r29")}),
        (
            "var/lib/rpm/rpmdb.sqlite",
            rpm_sqlite(rpm_header("bash", "5.1.8", "6.el9", epoch=1), rpm_header("gpg-pubkey", "1", "1")),
            {("rpm", "bash", "1:5.1.8-6.el9")},
        ),
        (
            "usr/lib/sysimage/rpm/Packages.db",
            rpm_ndb(rpm_header("zypper", "1.14", "1.1"), rpm_header("glibc", "2.38", "2")),
            {("rpm", "zypper", "1.14-1.1"), ("rpm", "glibc", "2.38-2")},
        ),
        (
            "usr/lib/python3/six-1.16.0.dist-info/METADATA",
            b"Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\nName: other",
            {("pypi", "six", "1.16.0")},
        ),
        ("usr/lib/python3/old.egg-info", b"Name: old\nVersion: 2\n", {("pypi", "old", "2")}),
        ("usr/lib/python3/EGG-INFO/PKG-INFO", b"Name: egg\nVersion: 3\n", {("pypi", "egg", "3")}),
        (
            "app/node_modules/@a/b/package.json",
            b'\xef\xbb\xbf{"name": "@a/b", "version": "1.0.0"}',
            {("npm", "@a/b", "1.0.0")},
        ),
        ("app/package.json", b'{"private": true}', set()),
        ("app/package-lock.json", PACKAGE_LOCK, {("npm", "left-pad", "1.3.0")}),
        (
            "app/package-lock.json",
            b'{"dependencies": {"a": {"version": "1", "dependencies": {"b": {"version": "2"}}}}}',
            {("npm", "a", "1"), ("npm", "b", "2")},
        ),
        (
            "app/yarn.lock",
            b'# yarn\n\n"@babel/core@^7.0.0", "@babel/core@^7.1.0":\n  version "7.2.0"\n\nms@2:\n  version "2.0.0"\n',  # noqa: E501
            {("npm", "@babel/core", "7.2.0"), ("npm", "ms", "2.0.0")},
        ),
        (
            "app/pnpm-lock.yaml",
            b"lockfileVersion: '9.0'\n\npackages:\n\n  '@a/b@1.0.0':\n    resolution: {}\n\n  ms@2.1.3:\n    resolution: {}\n",  # noqa: E501
            {("npm", "@a/b", "1.0.0"), ("npm", "ms", "2.1.3")},
        ),
        (
            "usr/lib/ruby/gems/3.2.0/specifications/rack-2.2.8.gemspec",
            b'Gem::Specification.new do |s|\n  s.name = "rack".freeze\n  s.version = "2.2.8"\n  s.licenses = ["MIT".freeze]\n',  # noqa: E501
            {("gem", "rack", "2.2.8")},
        ),
        (
            "app/Gemfile.lock",
            b"GEM\n  remote: x\n  specs:\n    nokogiri (1.15.4-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.7.1)\n",  # noqa: E501
            {("gem", "nokogiri", "1.15.4"), ("gem", "racc", "1.7.1")},
        ),
        (
            "app/vendor/composer/installed.json",
            b'{"packages": [{"name": "monolog/monolog", "version": "2.9.1", "license": ["MIT"]}]}',
            {("composer", "monolog/monolog", "2.9.1")},
        ),
        (
            "app/composer.lock",
            b'{"packages": [{"name": "a/b", "version": "v1.0"}], "packages-dev": []}',
            {("composer", "a/b", "v1.0")},
        ),
        (
            "opt/log4j-1.2.17.jar",
            jar({"META-INF/maven/log4j/log4j/pom.properties": POM}),
            {("maven", "log4j", "1.2.17")},
        ),
        (
            "opt/guava-31.1-jre.jar",
            jar(
                {
                    "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\nBundle-SymbolicName: com.google.gu\r\n ava\r\n"  # noqa: E501
                }
            ),
            {("maven", "guava", "31.1-jre")},
        ),
        (
            "opt/app.war",
            jar({"WEB-INF/lib/log4j.jar": jar({"META-INF/maven/log4j/log4j/pom.properties": POM})}),
            {("maven", "log4j", "1.2.17")},
        ),
    ],
)
def test_databases_and_archives_are_read(path: str, data: bytes, expected: set[tuple[str, str, str]]) -> None:
    inventory = merge([layer(file(path, data))])
    assert named(inventory) == expected
    assert inventory.problems == ()


def test_a_go_program_names_its_modules_the_replacements_and_the_library() -> None:
    program = go_program(
        "path\tx",
        "mod\tex.org/app\t(devel)\t",
        "dep\tex.org/a\tv1.0.0\th1:",
        "=>\tex.org/fork\tv1.1.0\th1:",
        "dep\tex.org/b\tv2.0.0",
        'build\t-ldflags="-s -X main.version=4.5.6"',
    )
    inventory = merge([layer(file("usr/bin/app", program, 0o755))])
    assert named(inventory) == {
        ("golang", "stdlib", "1.22.3"),
        ("golang", "ex.org/app", "v4.5.6"),
        ("golang", "ex.org/fork", "v1.1.0"),
        ("golang", "ex.org/b", "v2.0.0"),
    }


def test_a_rust_program_names_the_crates_it_runs_with() -> None:
    document = b'{"packages": [{"name": "serde", "version": "1.0.2"}, {"name": "cc", "version": "1", "kind": "build"}]}'  # noqa: E501
    inventory = merge([layer(file("usr/bin/app", rust_program(document), 0o755))])
    assert named(inventory) == {("cargo", "serde", "1.0.2")}


def test_a_program_in_words_is_not_looked_into() -> None:
    assert merge([layer(file("usr/bin/app", b"#!/bin/sh\n" * 1000, 0o755))]).packages == ()


def test_a_source_package_and_its_version_are_known() -> None:
    found = {
        f.package.name: f.package.source for f in merge([layer(file("var/lib/dpkg/status", DPKG))]).packages
    }
    assert found == {"openssl": ("openssl", "3.0.11-1~deb12u2"), "libc-bin": ("glibc", "2.36-9")}
    header = rpm_header("bash-doc", "5", "1", source="bash-5-1.src.rpm")
    (one,) = merge([layer(file("var/lib/rpm/rpmdb.sqlite", rpm_sqlite(header)))]).packages
    assert one.package.source[0] == "bash"


def test_the_layer_that_brought_a_version_is_told() -> None:
    first = b"Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n"
    second = b"Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n"
    status = "var/lib/dpkg/status"
    inventory = merge([layer(file(status, first)), layer(), layer(file(status, second))])
    assert {f.package.name: (f.package.version, f.layer) for f in inventory.packages} == {
        "a": ("1", 0),
        "b": ("2", 2),
    }


METADATA = "opt/six.dist-info/METADATA"
SIX = file(METADATA, b"Name: six\nVersion: 1\n")


@pytest.mark.parametrize(
    "above",
    [
        [tarballs.file(b"opt/.wh.six.dist-info")],
        [tarballs.file(b"opt/six.dist-info/.wh.METADATA")],
        [tarballs.file(b".wh.opt")],
        [tarballs.file(b"opt/.wh..wh..opq")],
        [tarballs.file(b".wh..wh..opq")],
        [tarballs.symlink(b"opt", b"/else")],
        [tarballs.directory(b"opt/six.dist-info/METADATA")],
        [file(METADATA, b"no metadata")],
    ],
    ids=[
        "folder",
        "file",
        "top",
        "opaque",
        "opaque root",
        "link for a folder",
        "folder for a file",
        "replaced",
    ],
)
def test_what_a_layer_takes_away_is_gone(above: list[bytes]) -> None:
    assert merge([layer(SIX), layer(*above)]).packages == ()


def test_what_is_beside_something_removed_stays() -> None:
    above = layer(tarballs.file(b"opt/.wh.si"), tarballs.file(b"opt/six/.wh..wh..opq"))
    assert len(merge([layer(SIX), above]).packages) == 1


def test_a_program_replaced_by_a_script_is_gone() -> None:
    program = file("usr/bin/app", go_program("dep\ta\tv1"), 0o755)
    assert merge([layer(program), layer(file("usr/bin/app", b"#!/bin/sh\n", 0o755))]).packages == ()


def test_a_package_that_came_back_counts_from_there() -> None:
    inventory = merge([layer(SIX), layer(tarballs.file(b".wh.opt")), layer(SIX)])
    assert [found.layer for found in inventory.packages] == [2]


def test_a_lock_counts_only_where_nothing_is_installed() -> None:
    lock = file("app/package-lock.json", PACKAGE_LOCK)
    installed = file("app/node_modules/ms/package.json", b'{"name": "ms", "version": "1.0.0"}')
    assert named(merge([layer(lock, installed)])) == {("npm", "ms", "1.0.0")}
    assert named(merge([layer(lock)])) == {("npm", "left-pad", "1.3.0")}


def test_a_wheel_that_a_system_package_brought_is_told_so() -> None:
    six = file("usr/lib/python3/dist-packages/six-1.dist-info/METADATA", b"Name: six\nVersion: 1\n")
    listing = file(
        "var/lib/dpkg/info/python3-six.list", b"/.\n/usr/lib/python3/dist-packages/six-1.dist-info/METADATA\n"
    )
    (found,) = merge([layer(six, listing)]).packages
    assert found.owner == "var/lib/dpkg/info/python3-six.list"
    path = "usr/lib/python3/site-packages/six-1.0.dist-info/METADATA"
    inventory = merge([layer(file("lib/apk/db/installed", APK), file(path, b"Name: six\nVersion: 1.0\n"))])
    assert {f.package.name: f.owner for f in inventory.packages if f.owner} == {"six": "lib/apk/db/installed"}


def test_licences_come_from_where_each_states_them() -> None:
    inventory = merge(
        [
            layer(
                file("var/lib/dpkg/status", b"Package: a\nVersion: 1\n"),
                file("usr/share/doc/a/copyright", b"Files: *\nLicense: GPL-2+\n\nLicense: MIT\n text"),
                file(
                    "x.dist-info/METADATA",
                    b"Name: b\nVersion: 1\nLicense: whole text\nLicense-Expression: MIT OR Apache-2.0\n",
                ),
                file(
                    "node_modules/c/package.json",
                    b'{"name": "c", "version": "1", "license": {"type": "ISC"}}',
                ),
            )
        ]
    )
    assert {f.package.name: f.package.licences for f in inventory.packages} == {
        "a": ("GPL-2+", "MIT"),
        "b": ("MIT OR Apache-2.0",),
        "c": ("ISC",),
    }


def test_the_release_is_the_one_in_etc() -> None:
    usr = file("usr/lib/os-release", b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    etc = file("etc/os-release", b"ID=Ubuntu\nVERSION_ID='24.04'\n# c\nbroken='\n")
    release = merge([layer(usr, etc)]).release
    assert (release.id, release.version) == ("ubuntu", "24.04")
    assert merge([layer(usr)]).release.codename == "bookworm"


def _bomb() -> bytes:
    return jar({"a.jar": b"PK" + bytes(300 << 20)})


def _deep(depth: int) -> bytes:
    data = jar({"x": b""})
    for _ in range(depth):
        data = jar({"inner.jar": data})
    return data


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a/package.json", b'{"a":' * 100_000, "no JSON"),
        ("a/package.json", b"[]", "not a JSON object"),
        ("a/package-lock.json", b'{"dependencies":{"a":' * 50_000, "no JSON"),
        ("x/vendor/composer/installed.json", b"{", "no JSON"),
        ("a/x.jar", b"PK\3\4 no directory", "directory is missing"),
        (
            "a/x.jar",
            b"PK" + bytes(100) + b"PK\5\6" + bytes(8) + b"\xff\xff\xff\xfe" + bytes(6),
            "looked through",
        ),
        ("a/x.jar", _deep(8), "nested deeper"),
        ("var/lib/rpm/Packages", b"\0" * 100, "Berkeley"),
        ("var/lib/rpm/rpmdb.sqlite", b"no database", "no SQLite"),
        ("var/lib/rpm/rpmdb.sqlite", rpm_sqlite(b"\0\0\xff\xff\0\0\0\0"), "header is cut"),
        ("var/lib/rpm/Packages.db", rpm_ndb(rpm_header("a", "1", "1"))[:4200], "damaged or cut"),
    ],
)
def test_bad_evidence_is_a_problem_with_its_reason(path: str, data: bytes, reason: str) -> None:
    inventory = merge([layer(SIX, file(path, data))])
    assert [(where, reason in why) for where, why in inventory.problems] == [(path, True)]
    assert named(inventory) == {("pypi", "six", "1")}


def test_a_bomb_in_an_archive_is_measured_before_it_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    from entrepot.inventory.packages import java

    monkeypatch.setattr(java, "_MAX_BYTES", 1 << 20)
    inventory = merge([layer(file("a/x.jar", _bomb()))])
    assert "unpacks to more" in inventory.problems[0][1]


def test_rpm_databases_cut_anywhere_are_read_or_told() -> None:
    headers = [rpm_header(f"p{number}", "1", "1", files={"x": "/usr/bin/"}) for number in range(3)]
    for path, data in (
        ("var/lib/rpm/rpmdb.sqlite", rpm_sqlite(*headers)),
        ("var/lib/rpm/Packages.db", rpm_ndb(*headers)),
    ):
        for cut in range(0, len(data), 97):
            inventory = merge([layer(file(path, data[:cut]))])
            assert inventory.problems or cut == 0 or len(inventory.packages) in (0, 3), (path, cut)


def test_a_view_in_place_of_rpms_table_is_not_run() -> None:
    import sqlite3
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "db"
        connection = sqlite3.connect(path)
        connection.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT * FROM n"  # noqa: E501
        )
        connection.commit()
        connection.close()
        data = path.read_bytes()
    inventory = merge([layer(file("var/lib/rpm/rpmdb.sqlite", data))])
    assert "no table of packages" in inventory.problems[0][1]


def test_programs_cut_anywhere_do_no_harm() -> None:
    program = go_program("dep\ta\tv1")
    for cut in range(4096, len(program), 101):
        assert merge([layer(file("usr/bin/x", program[:cut], 0o755))]).problems == ()


def test_a_folder_is_read_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "six.dist-info").mkdir(parents=True)
    (outside / "six.dist-info" / "METADATA").write_bytes(b"Name: six\nVersion: 1\n")
    root = tmp_path / "root"
    (root / "a.dist-info").mkdir(parents=True)
    (root / "b.dist-info").mkdir()
    (root / "a.dist-info" / "METADATA").write_bytes(b"Name: a\nVersion: 1\n")
    (root / "b.dist-info" / "METADATA").symlink_to(outside / "six.dist-info" / "METADATA")
    (root / "linked").symlink_to(outside)
    os.mkfifo(root / "package.json")
    assert named(merge([read_tree(root)])) == {("pypi", "a", "1")}


def test_the_same_layer_gives_the_same_evidence() -> None:
    data = tarballs.archive(file("var/lib/dpkg/status", DPKG), SIX)
    assert read_layer(iter([data])) == read_layer(iter([gzip.decompress(gzip.compress(data))]))
