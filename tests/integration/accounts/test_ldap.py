"""Signing in through LDAP, with Debian's slapd."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.accounts.conftest import Registry
from tests.support.ports import free_port
from tests.support.processes import started
from tests.support.programs import require_program

BASE = "dc=example,dc=org"
ADMIN = f"cn=admin,{BASE}"
PEOPLE = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups

dn: uid=lena,ou=people,{BASE}
objectClass: inetOrgPerson
uid: lena
cn: Lena L.
sn: L
mail: lena@example.org
userPassword: lena's password

dn: uid=mallory,ou=people,{BASE}
objectClass: inetOrgPerson
uid: mallory
cn: Mallory (star)*
sn: M
userPassword: mallory's password

dn: cn=developers,ou=groups,{BASE}
objectClass: groupOfNames
cn: developers
member: uid=lena,ou=people,{BASE}
"""


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a directory with two people and a group."""
    program, add = require_program("slapd"), require_program("slapadd")
    folder = tmp_path_factory.mktemp("slapd")
    (folder / "db").mkdir()
    config = folder / "slapd.conf"
    config.write_text(
        f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
database mdb
suffix "{BASE}"
rootdn "{ADMIN}"
rootpw service-secret
directory {folder}/db
"""
    )
    ldif = folder / "people.ldif"
    ldif.write_text(PEOPLE.strip() + "\n")
    subprocess.run([add, "-f", str(config), "-l", str(ldif)], check=True, capture_output=True, timeout=60)
    port = free_port()
    argv = [program, "-f", str(config), "-h", f"ldap://127.0.0.1:{port}", "-d", "0"]

    def ready() -> bool:
        import socket

        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            return False
        return True

    with started(argv, log=folder / "log", ready=ready):
        yield f"ldap://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def directory(registry: Registry, slapd: str) -> Registry:
    registry.api(
        "POST",
        "/sources",
        {
            "name": "corp",
            "kind": "ldap",
            "settings": {
                "url": slapd,
                "bind_dn": ADMIN,
                "user_base": f"ou=people,{BASE}",
                "group_base": f"ou=groups,{BASE}",
            },
            "secret": "service-secret",
        },
    )
    registry.api("POST", "/teams", {"name": "devs", "external_group": "corp:developers"})
    registry.api("POST", "/projects/acme/grants", {"role": "developer", "team": "devs"})
    registry.secrets |= {"lena": "lena's password", "mallory": "mallory's password"}
    return registry


def test_people_sign_in_and_groups_become_teams(directory: Registry) -> None:
    assert directory.wire("lena")("GET", "/v2/").status == 200
    assert directory.wire("lena")("POST", "/v2/acme/app/blobs/uploads/").status == 202
    assert directory.wire("mallory")("GET", "/v2/").status == 200
    assert directory.wire("mallory")("POST", "/v2/acme/app/blobs/uploads/").status == 403
    lena = directory.api("GET", "/users/lena")
    assert (lena["display_name"], lena["email"], lena["source"]) == ("Lena L.", "lena@example.org", "corp")


@pytest.mark.parametrize("password", ["wrong", "", "*"])
def test_wrong_password_is_refused(directory: Registry, password: str) -> None:
    directory.secrets["lena-wrong"] = password
    import base64

    pair = base64.b64encode(f"lena:{password}".encode()).decode()
    from tests.support.wire import Wire

    answer = Wire(directory.server.port, headers={"Authorization": f"Basic {pair}"})("GET", "/v2/")
    assert answer.status == 401


@pytest.mark.parametrize("name", ["*", "le*", "lena)(uid=*", "(cn=*", "lena\\2a"])
def test_filter_can_not_be_bent(directory: Registry, name: str) -> None:
    import base64

    from tests.support.wire import Wire

    pair = base64.b64encode(f"{name}:lena's password".encode()).decode()
    assert (
        Wire(directory.server.port, headers={"Authorization": f"Basic {pair}"})("GET", "/v2/").status == 401
    )


def test_built_in_account_is_not_taken_over(directory: Registry) -> None:
    """olga exists here; an olga in the directory would be somebody else."""
    assert directory.wire("olga")("GET", "/v2/").status == 200
