"""Who is sent to the object store, and how long bytes stay for those who were."""

import pytest

from entrepot.server.compose import open_store, repository_limits, trash_delay_s
from entrepot.server.config.model import Config, GcSection, Seconds, Secret, StorageSection
from entrepot.server.v2.redirect import RedirectRule


@pytest.mark.parametrize(
    ("networks", "exempt", "sent", "kept"),
    [
        ((), (), ["10.0.0.1", "::1", "203.0.113.9"], []),
        (("10.0.0.0/8", "fd00::/8"), (), ["10.0.0.1", "fd00::1", "::ffff:10.1.1.1"], ["203.0.113.9", "::1"]),
        ((), ("10.0.0.0/8",), ["203.0.113.9"], ["10.200.0.1"]),
        (("10.0.0.0/8",), ("10.1.0.0/16",), ["10.2.0.1"], ["10.1.0.1", "203.0.113.9", ""]),
    ],
    ids=["all", "some", "all-but", "some-but"],
)
def test_by_network(
    networks: tuple[str, ...], exempt: tuple[str, ...], sent: list[str], kept: list[str]
) -> None:
    rule = RedirectRule.of(StorageSection(redirect=True, redirect_networks=networks, redirect_except=exempt))
    assert [address for address in sent + kept if rule.sends(address)] == sent


def test_off_sends_nobody() -> None:
    assert not RedirectRule.of(StorageSection(redirect_networks=("0.0.0.0/0",))).sends("10.0.0.1")


def test_bytes_stay_as_long_as_a_signed_url_works() -> None:
    """G5: whatever the settings say, what a client was sent to is not unlinked before."""
    short = GcSection(trash_delay=Seconds(5))
    redirecting = Config(gc=short, storage=StorageSection(redirect=True, redirect_expires=Seconds(600)))
    assert trash_delay_s(redirecting) == repository_limits(redirecting).trash_delay_s == 600
    assert trash_delay_s(Config(gc=short)) == 5
    assert trash_delay_s(Config(storage=StorageSection(redirect=True))) == Config().gc.trash_delay


@pytest.mark.anyio
async def test_a_cdn_shows_the_same_names_elsewhere() -> None:
    storage = StorageSection(
        url="s3://bucket/prefix",
        region="eu",
        access_key_id="k",
        secret_access_key=Secret("s"),
        cdn_url="https://cdn.example.org/here",
    )
    store = open_store(Config(storage=storage))
    phys = "blobs/" + "a" * 32 + "/" + "0" * 20 + "." + "b" * 16
    assert await store.signed_url(phys, expires_s=60) == f"https://cdn.example.org/here/{phys}"
    await store.close()
