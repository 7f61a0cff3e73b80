"""Signing in through LDAP, with Debian's slapd."""

import subprocess
from collections.abc import Iterator

import ldap3
import pytest

from entrepot.server.access.sign_in.sources import ldap
from entrepot.server.access.sign_in.sources.outbound import Outbound
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

dn: uid=nils,ou=people,{BASE}
objectClass: inetOrgPerson
objectClass: shadowAccount
uid: nils
cn: Nils
sn: N
shadowLastChange: 20000
userPassword: nils's password

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
include /etc/ldap/schema/nis.schema
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


@pytest.mark.anyio
async def test_who_is_signed_in_is_looked_up_again(slapd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that was changed, and somebody who was removed; meanwhile nothing but what is remembered."""
    for wait in ("_LOOK_AGAIN_S", "_LOOK_SOONER_S", "_ASK_AFTER_FAILURE_S"):
        monkeypatch.setattr(ldap, wait, 0.0)
    monkeypatch.setattr(ldap, "_PATIENCE_S", 60.0)
    settings = ldap.LdapSettings(url=slapd, bind_dn=ADMIN, user_base=f"ou=people,{BASE}")
    outbound = Outbound()
    directory = ldap.LdapDirectory("corp", settings, "service-secret", outbound)
    person = await directory.sign_in("nils", "nils's password")
    assert person is not None
    assert person.entry
    assert await directory.goes_on("nils", person.entry)
    by_mail = ldap.LdapSettings(
        url=slapd, bind_dn=ADMIN, user_base=f"ou=people,{BASE}", user_filter="(mail={name})"
    )
    elsewhere = ldap.LdapDirectory("corp", by_mail, "service-secret", outbound)
    lena = await elsewhere.sign_in("lena@example.org", "lena's password")
    assert lena is not None
    assert lena.name == "lena"
    assert await elsewhere.goes_on("lena", lena.entry)  # whose name finds nobody there
    await directory.pretend()
    assert await directory.sign_in("nobody", "x") is None
    dn = f"uid=nils,ou=people,{BASE}"
    with ldap3.Connection(slapd, ADMIN, "service-secret", auto_bind=True) as admin:
        assert admin.modify(dn, {"shadowLastChange": [(ldap3.MODIFY_REPLACE, ["20001"])]})
        assert not await directory.goes_on("nils", person.entry)
        again = await directory.sign_in("nils", "nils's password")
        assert again is not None
        assert await directory.goes_on("nils", again.entry)
        assert admin.delete(dn)
    assert not await directory.goes_on("nils", again.entry)
    monkeypatch.setattr(ldap, "_LOOK_AGAIN_S", 60.0)
    assert directory.vouches_for("nils") is None
    away = ldap.LdapDirectory(
        "corp", ldap.LdapSettings(url=f"ldap://127.0.0.1:{free_port()}", user_base=BASE), "", outbound
    )
    with pytest.raises(ldap.LdapUnavailable):
        await away.goes_on("nils", again.entry)
    outbound.close()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("userAccountControl", "514"),
        ("nsAccountLock", "TRUE"),
        ("pwdAccountLockedTime", "000001010000Z"),
    ],
)
def test_disabled_people_are_known_by_what_their_directory_calls_it(attribute: str, value: str) -> None:
    assert ldap._is_disabled({"attributes": {attribute: [value]}})
    assert not ldap._is_disabled({"attributes": {"userAccountControl": ["512"]}})
