"""The management API answers every request its description allows, as its description says (schemathesis)."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks

from tests.integration.accounts.conftest import Registry

pytestmark = [pytest.mark.timeout(600)]

EXAMPLES_PER_OPERATION = 3
# Whether an input that the description allows is accepted depends on what is there (names, versions), and
# refusals of what it forbids are the parsers' tests; here it is about crashes and shapes.
WANTED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def own(served: Registry) -> Registry:
    served.api("POST", "/projects", {"name": "acme"})
    return served


def test_every_operation_keeps_to_its_description(own: Registry, tmp_path: Path) -> None:
    load_all_checks()
    checks = [CHECKS.get_one(name) for name in WANTED]
    headers = own.headers("admin")
    schema = schemathesis.openapi.from_url(f"{own.server.url}/api/v1/schema/openapi.json")
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/sign-in/{provider}"):
            continue  # leaves for another site

        @settings(
            max_examples=EXAMPLES_PER_OPERATION,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            response = case.call(headers=headers, timeout=60)
            case.validate_response(response, checks=checks)

        ask()
        asked += 1
    assert asked > 70
