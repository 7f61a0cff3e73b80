"""CycloneDX 1.6 JSON (ECMA-424)."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from entrepot.inventory.sbom.bill import Bill, Component, components_of
from entrepot.inventory.sbom.licences import is_expression, is_id

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"


def cyclonedx(bill: Bill) -> dict[str, Any]:
    """The document; what brought a package is in `evidence` and in the properties `entrepot:layer`."""
    subject: dict[str, Any] = {
        "bom-ref": "subject", "type": "container" if bill.digest else "file", "name": bill.name,
    }  # fmt: skip
    if bill.digest:
        subject["version"] = bill.digest
    return {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{bill.uuid}",
        "version": 1,
        "metadata": {
            "timestamp": bill.made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {
                "components": [{"type": "application", "name": "entrepot", "version": bill.tool_version}]
            },
            "component": subject,
            "properties": [
                {"name": "entrepot:unread", "value": f"/{path}: {reason}"}
                for path, reason in bill.inventory.problems
            ],
        },
        "components": [*_system(bill), *(_component(bill, each) for each in components_of(bill))],
    }


def _system(bill: Bill) -> list[dict[str, Any]]:
    release = bill.inventory.release
    if not release.id:
        return []
    said = {
        "bom-ref": "os", "type": "operating-system", "name": release.id, "version": release.version,
        "description": release.pretty,
    }  # fmt: skip
    return [{key: value for key, value in said.items() if value}]


def _component(bill: Bill, component: Component) -> dict[str, Any]:
    package = component.package
    layers = dict.fromkeys(bill.layer_of(place) for place in component.places)
    said: dict[str, Any] = {
        "bom-ref": component.purl,
        "type": "library",
        "group": package.group,
        "name": package.name,
        "version": package.version,
        "licenses": _licences(package.licences),
        "purl": component.purl,
        "properties": [
            *({"name": "entrepot:layer", "value": layer} for layer in layers if layer),
            *(
                {"name": "entrepot:owner", "value": f"/{place.owner}"}
                for place in component.places
                if place.owner
            ),
        ],
        "evidence": {"occurrences": [{"location": f"/{place.path}"} for place in component.places]},
    }
    return {key: value for key, value in said.items() if value}


def _licences(said: tuple[str, ...]) -> list[dict[str, Any]]:
    if len(said) == 1 and not is_id(said[0]) and is_expression(said[0]):
        return [{"expression": said[0]}]
    return [
        {"license": {"id": name} if is_id(name) else {"name": name}} for name in dict.fromkeys(said) if name
    ]
