"""SPDX 2.3 JSON (ISO/IEC 5962:2021 with the changes of 2.3)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from typing import Any

from entrepot.inventory.sbom.bill import Bill, Component, components_of
from entrepot.inventory.sbom.licences import is_expression

_NONE = "NOASSERTION"
_SUBJECT = "SPDXRef-Subject"


def spdx(bill: Bill) -> dict[str, Any]:
    """The document; which layer brought a package is in its `sourceInfo`."""
    extracted: dict[str, str] = {}
    packages = [_package(bill, component, extracted) for component in components_of(bill)]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": bill.name,
        "documentNamespace": f"urn:uuid:{bill.uuid}",
        "creationInfo": {
            "creators": [f"Tool: entrepot-{bill.tool_version}"],
            "created": bill.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "packages": [_subject(bill), *packages],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", _SUBJECT),
            *(_relation(_SUBJECT, "CONTAINS", package["SPDXID"]) for package in packages),
        ],
        "hasExtractedLicensingInfos": [
            {"licenseId": reference, "name": text, "extractedText": text}
            for reference, text in extracted.items()
        ],
    }


def _subject(bill: Bill) -> dict[str, Any]:
    said = {
        "name": bill.name,
        "SPDXID": _SUBJECT,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER" if bill.digest else "FILE",
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
    }
    return said | ({"versionInfo": bill.digest} if bill.digest else {})


def _package(bill: Bill, component: Component, extracted: dict[str, str]) -> dict[str, Any]:
    package = component.package
    places = ", ".join(
        f"/{place.path}" + (f" (layer {layer})" if (layer := bill.layer_of(place)) else "")
        for place in component.places
    )
    name = f"{package.group}:{package.name}" if package.group else package.name
    return {
        "name": name,
        "SPDXID": f"SPDXRef-Package-{hashlib.sha256(component.purl.encode()).hexdigest()[:16]}",
        "versionInfo": package.version,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "sourceInfo": f"found in {places}",
        "licenseConcluded": _NONE,
        "licenseDeclared": _declared(package.licences, extracted),
        "copyrightText": _NONE,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component.purl,
            }
        ],
    }


def _declared(licences: tuple[str, ...], extracted: dict[str, str]) -> str:
    licences = tuple(filter(None, licences))
    if not licences:
        return _NONE
    if len(licences) == 1 and is_expression(licences[0]):
        return licences[0]
    return " AND ".join(dict.fromkeys(_part(licence, extracted) for licence in licences))


def _part(licence: str, extracted: dict[str, str]) -> str:
    if is_expression(licence):
        return f"({licence})" if " " in licence else licence
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", licence)[:60].strip("-") or "unnamed"
    reference = f"LicenseRef-{slug}-{hashlib.sha256(licence.encode()).hexdigest()[:8]}"
    extracted.setdefault(reference, licence)
    return reference


def _relation(subject: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": other}
