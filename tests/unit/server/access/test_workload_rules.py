"""Which rules for CI jobs are narrow enough to be taken."""

import pytest

from entrepot.server.access.sign_in.workload import names_an_owner


@pytest.mark.parametrize(
    "rule",
    [
        "sub=repo:acme/app:ref:refs/heads/main",
        "sub=repo:acme/*",
        "sub=project_path:acme/app:*",
        "sub=organization:acme:pipeline:*",
        "sub=org/8f3a/project/*",
        "sub=system:serviceaccount:builds:*",
        "sub=110169484474386276334",
        "repository=acme/app",
        "repository=acme/*",
        "project_path=acme/group/*",
        "repository_owner=acme",
        "namespace_path=acme/*",
    ],
)
def test_rules_that_name_an_owner_are_taken(rule: str) -> None:
    assert names_an_owner(*rule.split("=", 1))


@pytest.mark.parametrize(
    "rule",
    [
        "sub=*:*",
        "sub=*",
        "sub=",
        "sub= ",
        "sub=repo:*",
        "sub=repo:*/app:*",
        "sub=repo:acme*",
        "sub=repo:/*",
        "sub=:acme*",
        "sub=*repo:acme/app",
        "sub=project_path:*",
        "sub=system:serviceaccount:*",
        "sub=system:serviceaccount:build*",
        "sub=1*",
        "repository=*/*",
        "repository=*/app",
        "repository=acme*",
        "repository=/*",
        "repository_owner=acme*",
        "repository_owner=*",
        "namespace_path=*acme",
        "ref=refs/heads/main",
    ],
)
def test_rules_that_take_jobs_of_anybody_are_refused(rule: str) -> None:
    assert not names_an_owner(*rule.split("=", 1))
