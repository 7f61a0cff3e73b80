"""Bills of materials are read by the formats' own libraries."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from entrepot.inventory.packages.merge import FoundPackage, Inventory
from entrepot.inventory.packages.osrelease import Release
from entrepot.inventory.packages.package import Ecosystem, Package
from entrepot.inventory.sbom.bill import Bill
from entrepot.inventory.sbom.cyclonedx import cyclonedx
from entrepot.inventory.sbom.licences import is_expression
from entrepot.inventory.sbom.spdx import spdx

DIGEST = "sha256:" + "a" * 64
LAYERS = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
PACKAGES = (
    Package(
        Ecosystem.DEB,
        "libc-bin",
        "2.36-9+deb12u4",
        architecture="amd64",
        source_name="glibc",
        licences=("GPL-2+", "MIT"),
    ),
    Package(Ecosystem.RPM, "bash", "1:5.1-6.el9", architecture="x86_64"),
    Package(Ecosystem.NPM, "@a/b", "1.0.0", licences=("(MIT OR Apache-2.0)",)),
    Package(
        Ecosystem.MAVEN,
        "log4j",
        "1.2.17",
        group="log4j",
        licences=("The Apache Software License, Version 2.0",),
    ),
    Package(Ecosystem.GOLANG, "github.com/a/b/v2", "v2.1.0"),
    Package(Ecosystem.PYPI, 'odd näme "\\ \x01', "1 \u2028<&>", licences=("",)),
)
BILL = Bill(
    Inventory(
        Release("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)"),
        (
            *(
                FoundPackage(each, f"path/{at}", at % 2, "x.list" if at == 3 else "")
                for at, each in enumerate(PACKAGES)
            ),
            FoundPackage(PACKAGES[2], "elsewhere", 1),
        ),
        (("broken.jar", "no archive"),),
    ),
    "docker.io/library/app:1",
    datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    DIGEST,
    LAYERS,
    tool_version="1.0",
)


def test_cyclonedx_is_valid_and_says_which_layer() -> None:
    document = cyclonedx(BILL)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    (found,) = [each for each in document["components"] if each["name"] == "@a/b"]
    assert {item["value"] for item in found["properties"] if item["name"] == "entrepot:layer"} == set(LAYERS)
    assert [place["location"] for place in found["evidence"]["occurrences"]] == ["/path/2", "/elsewhere"]
    assert document["metadata"]["component"]["version"] == DIGEST
    assert document["metadata"]["properties"] == [
        {"name": "entrepot:unread", "value": "/broken.jar: no archive"}
    ]


def test_spdx_is_valid_and_says_which_layer(tmp_path: Path) -> None:
    path = tmp_path / "x.spdx.json"
    path.write_text(json.dumps(spdx(BILL)))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    (found,) = [package for package in document.packages if package.name == "libc-bin"]
    assert LAYERS[0] in str(found.source_info)
    assert len(document.packages) == len(PACKAGES) + 1


def test_package_urls_say_distribution_epoch_and_source() -> None:
    purls = {each["name"]: each["purl"] for each in cyclonedx(BILL)["components"] if "purl" in each}
    assert (
        purls["libc-bin"]
        == "pkg:deb/debian/libc-bin@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc"
    )
    assert purls["bash"] == "pkg:rpm/debian/bash@5.1-6.el9?arch=x86_64&distro=debian-12&epoch=1"
    assert purls["@a/b"] == "pkg:npm/%40a/b@1.0.0"
    assert purls["log4j"] == "pkg:maven/log4j/log4j@1.2.17"
    assert purls["github.com/a/b/v2"] == "pkg:golang/github.com/a/b/v2@v2.1.0"
    assert all(PackageURL.from_string(purl) for purl in purls.values())


def test_the_same_inventory_gives_the_same_document() -> None:
    assert cyclonedx(BILL) == cyclonedx(BILL)
    assert spdx(BILL) == spdx(BILL)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("MIT", True),
        ("MIT OR Apache-2.0", True),
        ("(MIT AND ISC) OR Zlib", True),
        ("MIT OR", False),
        ("(MIT", False),
        ("MIT Apache-2.0", False),
        ("My licence", False),
        ("", False),
        ("MIT)", False),
        ("MIT / ISC", False),
        ("(" * 100_000, False),
    ],
)
def test_licence_expressions(text: str, is_one: bool) -> None:
    assert is_expression(text) is is_one
