"""Advisories in each form, and what they say of an inventory."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from entrepot.inventory.advisories.advisory import InvalidAdvisories, Severity
from entrepot.inventory.advisories.database import AdvisoryDatabase
from entrepot.inventory.advisories.loading import open_advisories
from entrepot.inventory.advisories.match import Findings, match
from entrepot.inventory.advisories.osv import score_of
from entrepot.inventory.advisories.report import as_sarif
from entrepot.inventory.advisories.vex import read_vex
from entrepot.inventory.packages.merge import FoundPackage, Inventory
from entrepot.inventory.packages.osrelease import Release
from entrepot.inventory.packages.package import Ecosystem, Package
from entrepot.inventory.versions.ranges import Verdict

BOOKWORM = Release("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)")
ALPINE = Release("alpine", "3.20.1", "", "Alpine Linux v3.20")


def osv(identifier: str, ecosystem: str, name: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    kind = more.pop("kind", "ECOSYSTEM")
    versions = more.pop("versions", None)
    item: dict[str, Any] = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": kind, "events": list(events)}] if events else [],
    }
    if versions:
        item["versions"] = versions
    return {"id": identifier, "modified": "2024-01-01T00:00:00Z", "affected": [item], **more}


SPAN = ({"introduced": "0"}, {"fixed": "2.0"})


class Looker:
    """Loads documents and matches packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given = folder / "given"
        self.given.mkdir()

    def write(self, name: str, document: Any) -> Path:
        path = self.given / name
        path.write_text(json.dumps(document))
        return path

    def open(self) -> AdvisoryDatabase:
        return open_advisories([self.given], self.folder / "cache")

    def look(self, *packages: Package, release: Release = BOOKWORM, owner: str = "", **more: Any) -> Findings:
        found = tuple(FoundPackage(package, "some/path", 0, owner) for package in packages)
        with self.open() as database:
            return match(Inventory(release, found), database, **more)


@pytest.fixture
def looker(tmp_path: Path) -> Looker:
    return Looker(tmp_path)


def pypi(version: str = "1.0", name: str = "Some_Package") -> Package:
    return Package(Ecosystem.PYPI, name, version)


def deb(name: str, version: str, *, source: str = "") -> Package:
    return Package(Ecosystem.DEB, name, version, source_name=source)


def said(found: Findings) -> list[tuple[str, str, str]]:
    return [(each.advisory.name, each.verdict.value, each.fixed) for each in found.findings]


def test_a_version_in_a_range_is_found_whatever_the_names_spelling(looker: Looker) -> None:
    looker.write("a.json", osv("PYSEC-1", "PyPI", "some-package", *SPAN, aliases=["CVE-2024-0001"]))
    assert said(looker.look(pypi("1.0"))) == [("CVE-2024-0001", "affected", "2.0")]
    assert said(looker.look(pypi("2.0"))) == []


def test_two_ranges_are_evaluated_each_by_itself(looker: Looker) -> None:
    record = osv("X-1", "PyPI", "some-package", {"introduced": "0"}, {"fixed": "1.5"})
    record["affected"][0]["ranges"].append(
        {"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"fixed": "2.0"}]}
    )
    looker.write("a.json", record)
    assert said(looker.look(pypi("1.7"))) == [("X-1", "affected", "2.0")]


def test_what_was_withdrawn_or_speaks_of_commits_only_is_passed_over(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN, withdrawn="2024-01-02T00:00:00Z"))
    looker.write("b.json", osv("X-2", "PyPI", "some-package", {"introduced": "0"}, kind="GIT"))
    looker.write("c.json", osv("X-3", "PyPI", "other", *SPAN))
    assert said(looker.look(pypi())) == []


def test_a_version_that_cannot_be_read_is_told_as_unknown(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN))
    found = looker.look(pypi("${version}"))
    assert said(found) == [("X-1", "unknown", "2.0")]
    assert not found.findings[0].counts


def test_a_zip_of_records_is_read(looker: Looker) -> None:
    with zipfile.ZipFile(looker.given / "all.zip", "w") as archive:
        for number in range(3):
            archive.writestr(
                f"X-{number}.json", json.dumps(osv(f"X-{number}", "PyPI", "some-package", *SPAN))
            )
    assert len(looker.look(pypi()).findings) == 3


def test_one_vulnerability_of_two_databases_is_one_finding_with_its_severity(looker: Looker) -> None:
    looker.write("a.json", osv("PYSEC-1", "PyPI", "some-package", *SPAN, aliases=["CVE-2024-1111"]))
    looker.write("b.json", osv("GHSA-1", "PyPI", "some-package", {"introduced": "0"}, aliases=["CVE-2024-1111"],  # noqa: E501
                               database_specific={"severity": "CRITICAL"}))  # fmt: skip
    (one,) = looker.look(pypi()).findings
    assert (one.severity, one.fixed) == (Severity.CRITICAL, "2.0")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}, Severity.CRITICAL),  # noqa: E501
        ({"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"}]}, Severity.MEDIUM),  # noqa: E501
        ({"severity": [{"type": "CVSS_V2", "score": "AV:N/AC:M/Au:N/C:P/I:P/A:P"}]}, Severity.MEDIUM),
        ({"severity": [{"type": "Ubuntu", "score": "low"}]}, Severity.LOW),
        ({"database_specific": {"severity": "MODERATE"}, "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}, Severity.MEDIUM),  # noqa: E501
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/nonsense"}]}, Severity.UNKNOWN),
        ({}, Severity.UNKNOWN),
    ],
)  # fmt: skip
def test_the_severity_is_the_databases_word_or_the_scores(
    looker: Looker, more: dict[str, Any], expected: Severity
) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN, **more))
    assert looker.look(pypi()).findings[0].severity is expected


def test_a_vector_of_any_length_and_content_is_a_score_or_none() -> None:
    assert score_of("7.5") == 7.5
    for vector in ("", "x" * 10_000_000, "CVSS:3.1/", "CVSS:4.0/AV:N/AV:N", "AV:N/" * 50):
        assert score_of(vector) is None


TRACKER = {
    "openssl": {
        "CVE-2024-0001": {"description": "fixed", "releases": {"bookworm": {"status": "resolved", "fixed_version": "3.0.14-1", "urgency": "high"}, "trixie": {"status": "open"}}},  # noqa: E501
        "CVE-2024-0002": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "unimportant"}}},  # noqa: E501
        "CVE-2024-0003": {"releases": {"bookworm": {"status": "open", "urgency": "not yet assigned", "nodsa": "Minor issue", "nodsa_reason": ""}}},  # noqa: E501
        "CVE-2024-0004": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
        "CVE-2024-0005": {"releases": {"bookworm": {"status": "undetermined", "urgency": "not yet assigned"}}},  # noqa: E501
        "CVE-2024-0006": {"releases": {"trixie": {"status": "open"}}},
    }
}  # fmt: skip


def test_debian_goes_by_source_package_and_release(looker: Looker) -> None:
    looker.write("debian.json", TRACKER)
    found = looker.look(deb("libssl3", "3.0.11-1~deb12u2", source="openssl"), deb("bash", "5"))
    assert {
        (each.advisory.name, each.verdict, each.severity, each.fixed, each.note) for each in found.findings
    } == {
        ("CVE-2024-0001", Verdict.AFFECTED, Severity.HIGH, "3.0.14-1", ""),
        ("CVE-2024-0003", Verdict.AFFECTED, Severity.UNKNOWN, "", "no-dsa"),
        ("CVE-2024-0004", Verdict.AFFECTED, Severity.NEGLIGIBLE, "", "unimportant"),
        ("CVE-2024-0005", Verdict.UNKNOWN, Severity.UNKNOWN, "", "undetermined"),
    }
    fixed = looker.look(deb("openssl", "3.0.14-1~deb12u1"))
    assert "CVE-2024-0001" in {each.advisory.name for each in fixed.findings}
    assert "CVE-2024-0001" not in {
        each.advisory.name for each in looker.look(deb("openssl", "3.0.14-1")).findings
    }


def test_a_debian_source_version_is_the_one_compared(looker: Looker) -> None:
    looker.write(
        "debian.json",
        {"gcc": {"CVE-2024-1": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "12.2"}}}}},
    )
    binary = Package(Ecosystem.DEB, "lib", "1:99", source_name="gcc", source_version="12.1")
    assert len(looker.look(binary).findings) == 1


def test_alpine_zero_means_never_affected(looker: Looker) -> None:
    looker.write("main.json", {"distroversion": "v3.20", "reponame": "main", "packages": [
        {"pkg": {"name": "busybox", "secfixes": {"1.36.1-r16": ["CVE-2023-0001 GHSA-x"], "0": ["CVE-2023-0002"]}}},  # noqa: E501
        {"pkg": {"name": "musl", "secfixes": None}},
    ]})  # fmt: skip
    ssl_client = Package(Ecosystem.APK, "ssl_client", "1.36.1-r15", source_name="busybox")
    assert said(looker.look(ssl_client, release=ALPINE)) == [("CVE-2023-0001", "affected", "1.36.1-r16")]
    fine = Package(Ecosystem.APK, "busybox", "1.36.1-r16")
    assert said(looker.look(fine, release=ALPINE)) == []


@pytest.mark.parametrize(
    ("package", "release", "ecosystem", "name"),
    [
        (deb("bash", "1.0"), Release("ubuntu", "22.04"), "Ubuntu:22.04:LTS", "bash"),
        (Package(Ecosystem.RPM, "bash", "1.0-1"), Release("rocky", "9.3"), "Rocky Linux:9", "bash"),
        (Package(Ecosystem.RPM, "bash", "1.0-1"), Release("rhel", "9.3"), "Red Hat:enterprise_linux:9::baseos", "bash"),  # noqa: E501
        (Package(Ecosystem.RPM, "bash-doc", "1.0-1", source_name="bash"), Release("almalinux", "8.9"), "AlmaLinux:8", "bash"),  # noqa: E501
        (Package(Ecosystem.APK, "bash", "1.0-r0"), Release("wolfi", "20230201"), "Wolfi", "bash"),
        (Package(Ecosystem.MAVEN, "log4j-core", "1.0", group="org.apache"), BOOKWORM, "Maven", "org.apache:log4j-core"),  # noqa: E501
        (Package(Ecosystem.GOLANG, "stdlib", "1.0"), BOOKWORM, "Go", "stdlib"),
        (Package(Ecosystem.NPM, "@a/b", "1.0.0"), BOOKWORM, "npm", "@a/b"),
        (Package(Ecosystem.CARGO, "time", "1.0.0"), BOOKWORM, "crates.io", "time"),
        (Package(Ecosystem.GEM, "rack", "1.0"), BOOKWORM, "RubyGems", "rack"),
        (Package(Ecosystem.COMPOSER, "Vendor/Name", "v1.0"), BOOKWORM, "Packagist", "vendor/name"),
    ],
)  # fmt: skip
def test_each_ecosystem_is_looked_up_under_its_name(
    looker: Looker, package: Package, release: Release, ecosystem: str, name: str
) -> None:
    looker.write("a.json", osv("X-1", ecosystem, name, *SPAN))
    found = looker.look(package, release=release)
    assert said(found) == [("X-1", "affected", "2.0")]
    assert found.uncovered == ()


def test_silence_about_an_ecosystem_without_advisories_is_told(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "npm", "x", *SPAN))
    assert looker.look(pypi(), deb("a", "1")).uncovered == ("Debian:12", "PyPI")
    odd = Release("plan9", "4", pretty="Plan 9")
    assert looker.look(deb("a", "1"), release=odd).uncovered == ("Plan 9",)


def test_a_java_archive_without_a_group_is_told(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "Maven", "org.apache:log4j", *SPAN))
    found = looker.look(Package(Ecosystem.MAVEN, "log4j", "1.0"))
    assert found.uncovered == ("Java archives that do not say their group",)


def test_what_a_system_package_brought_is_the_distributions_to_judge(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN))
    assert looker.look(pypi(), owner="var/lib/dpkg/info/x.list").findings == ()


def test_exploitation_is_told(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN, aliases=["CVE-2021-44228"]))
    looker.write(
        "kev.json",
        {"catalogVersion": "1", "vulnerabilities": [{"cveID": "CVE-2021-44228", "dateAdded": "2021-12-10"}]},
    )
    (looker.given / "epss.csv.gz").write_bytes(
        gzip.compress(b"#model\ncve,epss,percentile\nCVE-2021-44228,0.97,0.99\nCVE-1,odd,1\n")
    )
    (one,) = looker.look(pypi()).findings
    assert (one.exploited_since, one.likelihood) == ("2021-12-10", 0.97)


def vex(tmp_path: Path, *statements: dict[str, Any]) -> Path:
    path = tmp_path / "vex.json"
    path.write_text(
        json.dumps(
            {
                "@context": "https://openvex.dev/ns/v0.2.0",
                "timestamp": "2024-01-01T00:00:00Z",
                "statements": list(statements),
            }
        )
    )
    return path


def statement(
    status: str = "not_affected", product: str = "pkg:pypi/some-package", **more: Any
) -> dict[str, Any]:
    return {"vulnerability": {"name": "CVE-2024-0001"}, "products": [{"@id": product}], "status": status,
            "justification": "vulnerable_code_not_present", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "is_silenced"),
    [
        ([statement()], True),
        ([statement(product="pkg:pypi/some-package@1.0")], True),
        ([statement(product="pkg:pypi/some-package@9.9")], False),
        ([statement(product="pkg:pypi/other")], False),
        ([statement("affected")], False),
        ([statement("fixed")], True),
        ([statement("under_investigation")], False),
        ([statement(), statement("affected", timestamp="2025-01-01T00:00:00Z")], False),
        ([statement("affected", timestamp="2025-01-01T00:00:00Z"), statement(timestamp="2026-01-01T00:00:00Z")], True),  # noqa: E501
        ([statement(vulnerability={"name": "GHSA-1"})], True),
        ([statement(vulnerability={"name": "CVE-2024-9999"})], False),
        ([statement(product="sha256:abc")], True),
        ([statement(product="pkg:oci/app@sha256%3Aabc")], True),
        ([statement(product="pkg:oci/app@sha256%3Adef")], False),
        ([statement(product="pkg:oci/app")], True),
        ([statement(products=[{"@id": "sha256:abc", "subcomponents": [{"@id": "pkg:pypi/other"}]}])], False),
        ([statement(products=[{"@id": "sha256:abc", "subcomponents": [{"@id": "pkg:pypi/some-package"}]}])], True),  # noqa: E501
        ([statement(products=[{"identifiers": {"purl": "pkg:pypi/some-package"}}])], True),
        ([statement(products=[])], False),
        ([statement(product="pkg:no url")], False),
    ],
)  # fmt: skip
def test_vex_silences_what_it_speaks_of(
    looker: Looker, tmp_path: Path, statements: list[dict[str, Any]], is_silenced: bool
) -> None:
    looker.write("a.json", osv("GHSA-1", "PyPI", "some-package", *SPAN, aliases=["CVE-2024-0001"]))
    read = read_vex(vex(tmp_path, *statements))
    (one,) = looker.look(pypi(), vex=read, image=("registry.example/team/app:1", "sha256:abc")).findings
    assert (not one.counts) is is_silenced
    assert bool(one.statement) is is_silenced


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b"{"),
        ("a.json", b'{"x": ' * 100_000),
        ("a.json", b'{"some": "thing"}'),
        ("a.json", b"{}"),
        ("a.json", b'{"id": 3, "affected": []}'),
        ("a.json", b"\xff\xfe"),
        ("all.zip", b"PK\3\4 no zip"),
        ("epss.csv.gz", b"no gzip"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(looker: Looker, name: str, data: bytes) -> None:
    (looker.given / name).write_bytes(data)
    with pytest.raises(InvalidAdvisories, match=name.replace(".", r"\.")):
        looker.open()
    assert list((looker.folder / "cache").glob("*")) == []


def test_a_bomb_in_a_dump_is_refused(looker: Looker) -> None:
    with zipfile.ZipFile(looker.given / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X-1.json", bytes(20 << 20))
    with pytest.raises(InvalidAdvisories, match="unpacks to more"):
        looker.open()


def test_the_database_is_made_once_and_again_when_a_file_changes(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN))
    looker.open().__exit__()
    (made,) = (looker.folder / "cache").iterdir()
    before = made.stat().st_ino
    looker.open().__exit__()
    assert made.stat().st_ino == before
    looker.write("b.json", osv("X-2", "PyPI", "some-package", *SPAN))
    assert len(looker.look(pypi()).findings) == 2
    made.write_bytes(b"damaged")
    assert len(looker.look(pypi()).findings) == 2


def test_a_made_database_can_be_given_itself(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN))
    looker.open().__exit__()
    (made,) = (looker.folder / "cache").iterdir()
    with open_advisories([made], looker.folder / "other") as database:
        assert database.covers("PyPI")


def test_sarif_has_a_rule_for_each_result(looker: Looker) -> None:
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN, database_specific={"severity": "HIGH"}))
    found = looker.look(pypi(), pypi("1.1"))
    (run,) = as_sarif("app:1", BOOKWORM, found.findings, "1.0")["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["X-1"]
    assert [(each["ruleIndex"], each["level"]) for each in run["results"]] == [(0, "error"), (0, "error")]
    assert run["tool"]["driver"]["rules"][0]["properties"]["security-severity"] == "8.0"


def test_a_look_up_reads_only_what_names_the_package(looker: Looker) -> None:
    """By the index: not a scan of the table."""
    looker.write("a.json", osv("X-1", "PyPI", "some-package", *SPAN))
    with looker.open() as database:
        plan = database._connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM affected WHERE ecosystem = ? AND name = ?", ("a", "b")
        ).fetchall()
    assert "USING INDEX affected_by_package" in str(plan)
