"""The server's settings: frozen dataclasses, one a section of the TOML file.

The line below a field is its documentation; `entrepot config show --docs` and docs/settings.md print it,
and a test fails when it is missing. A new setting is a field with a default and that line; a new section is
a class and a field of `Config`. Each can be given as `ENTREPOT_SECTION_KEY`. Sizes are written "64GiB" or in
bytes, durations "10s", "24h" or in seconds, lists in the environment with commas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NewType

Bytes = NewType("Bytes", int)
"""A size, in bytes."""
Seconds = NewType("Seconds", float)
"""A duration, in seconds."""


class Secret(str):
    """Text that must not be shown; `repr` hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')" if self else "Secret('')"


NO_SECRET = Secret("")
KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSection:
    """What listens, and as whom."""

    data: Path = Path("./entrepot-data")
    """Directory of the catalog and, unless `storage.url` names another place, of the blobs. Made with mode
    0700."""
    listen: tuple[str, ...] = ("127.0.0.1:5000",)
    """Addresses of the registry, as `host:port`, `:port` or `[::1]:port`. Port 0 takes a free one."""
    public_url: str = ""
    """How clients reach the registry when that is not the address they connect to, as in
    `https://registry.example.org`."""
    workers: int = 0
    """Processes that answer requests. 0 means one per processor, at most 8."""
    behind_proxy: tuple[str, ...] = ()
    """Addresses or networks of reverse proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides localhost that open mode answers to (the `Host` header, without port). `*.example.org`
    covers subdomains."""
    allow_open: bool = False
    """Open mode on any address and any Host name: everyone who can connect can push and delete. Same as
    `--open`."""
    drain_delay: Seconds = Seconds(0)
    """After SIGTERM: how long `/readyz` says 503 while requests are still taken, so that a load balancer
    looks away first."""
    drain_timeout: Seconds = Seconds(30)
    """After `drain_delay`: how long requests in flight may take to finish before they are cut."""
    hang_timeout: Seconds = Seconds(60)
    """A process of the server whose event loop stands still for so long is killed and replaced. Less than 5 s
    counts as 5 s; 0: never."""
    backlog: int = 1024
    """Connections the kernel keeps waiting on each listener."""
    http2: bool = False
    """Speak HTTP/2 as well. Off, since idle HTTP/2 connections are never closed by a deadline."""
    jobs: bool = True
    """Run background work (garbage collection, scrub, deliveries) in a process of this server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSection:
    """HTTPS on the registry's listeners."""

    cert: Path | None = None
    """PEM file of the certificate and its chain. It is read again when it changes."""
    key: Path | None = None
    """PEM file of the private key, PKCS#8 or PKCS#1, without a passphrase."""
    self_signed: bool = False
    """Make a certificate of our own in the data directory and print how clients can trust it."""
    names: tuple[str, ...] = ()
    """Names and addresses in the self-signed certificate, besides localhost and the listeners' own."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """Oldest TLS version that is spoken."""
    hsts: Seconds = Seconds(365 * DAY)
    """`Strict-Transport-Security`: how long browsers that came over TLS, ours or a proxy's, may reach this
    host name over nothing else, on any port. Not said to localhost, to IP addresses or with `self_signed`.
    0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSection:
    """Where blobs are kept."""

    url: str = ""
    """Empty: `blobs/` in the data directory. `s3://bucket/prefix`, `gs://bucket/prefix`,
    `az://container/prefix`: an object store."""
    endpoint: str = ""
    """Address of an S3-compatible service, as in `https://s3.example.org`. Empty: the provider's own."""
    region: str = ""
    """Region of the bucket."""
    access_key_id: str = ""
    """Key id for the object store. Empty: what the environment or the machine's role provides."""
    secret_access_key: Secret = NO_SECRET
    """Secret that belongs to `access_key_id`."""
    allow_http: bool = False
    """Speak plain HTTP to `endpoint`."""
    virtual_hosted: bool = False
    """Bucket in the host name instead of the path."""
    reserve: Bytes = Bytes(16 * MIB)
    """Room on the data disk that pushes leave free, so that deletes and garbage collection still work when
    it is full."""
    part_bytes: Bytes = Bytes(8 * MIB)
    """Size of the parts that a large object is sent in, at least 5 MiB. An object has at most 10 000 parts:
    where `limits.blob_bytes` needs larger ones, they are larger."""
    redirect: bool = False
    """Answer blob downloads with 307 to a signed URL of the object store. The store must be reachable by
    clients."""
    redirect_expires: Seconds = Seconds(20 * MINUTE)
    """How long such a URL works. Bytes of deleted blobs stay at least as long, also when `gc.trash_delay` is
    shorter."""
    redirect_networks: tuple[str, ...] = ()
    """With `redirect`: only clients in these networks are sent to the store. Empty: all."""
    redirect_except: tuple[str, ...] = ()
    """With `redirect`: clients in these networks get their bytes through the node."""
    cdn_url: str = ""
    """With `redirect`: where a content delivery network shows the bucket's prefix, as in
    `https://d111.cloudfront.net/entrepot`. Clients are sent there instead of to the store."""
    cdn_key_id: str = ""
    """CloudFront's id of the public key; URLs are signed with it. Empty: they are not signed."""
    cdn_key_file: Path | None = None
    """PEM file of the private RSA key that belongs to `cdn_key_id`."""
    cache: Bytes = Bytes(0)
    """Size of a cache of blobs on the node's own disk, for downloads through the node from an object store.
    0: none."""
    cache_dir: Path | None = None
    """Where that cache is. Unset: `cache` in the data directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSection:
    """Where metadata is kept."""

    url: str = ""
    """Empty: SQLite, `catalog.db` in the data directory. `postgresql://user:password@host/database` for
    several machines."""
    pool_size: int = 8
    """Connections to PostgreSQL per process."""
    copy: str = ""
    """Where the SQLite catalog is copied to all the time, a second behind at most: `s3://bucket/prefix`
    (reached as `[storage]` says) or `file:///folder` of another disk. It holds secrets: nobody else may read
    it. Empty: no copy. Needs Litestream: `pip install 'entrepot[copy]'`."""
    copy_window: Seconds = Seconds(DAY)
    """With `copy`: how far back the catalog can be restored as of any second. Bytes of deleted blobs stay at
    least as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSection:
    """Who may do what."""

    mode: Literal["", "open", "accounts"] = ""
    """`open`: no accounts, loopback only. `accounts`: sign-in and grants. Empty: what the catalog says; a
    new one on loopback is open."""
    secret_file: Path | None = None
    """32 random bytes that seal signing keys and client secrets in the catalog. Unset: `access.key` in the
    data directory, made at first start. Machines that share a catalog share this file."""
    token_life: Seconds = Seconds(5 * MINUTE)
    """How long a bearer token lives, between one and five minutes."""
    issuer: str = "entrepot"
    """The name (`iss`) under which tokens are signed; a Docker Registry that takes them is told the same."""
    registries: tuple[str, ...] = ()
    """Service names of Docker Registries that get their tokens from this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSection:
    """How much one request, manifest or client may ask for."""

    url_bytes: Bytes = Bytes(8 * KIB)
    """Longest path and query of a request; longer is 414."""
    header_bytes: Bytes = Bytes(16 * KIB)
    """All headers of a request together; more is 431."""
    header_count: int = 100
    """Headers of a request; more is 431."""
    header_timeout: Seconds = Seconds(10)
    """How long a client may take to send its headers, or stay silent between requests, before the
    connection is closed."""
    body_timeout: Seconds = Seconds(20)
    """How long a client may take until the first byte of a body; then 408, and the connection is closed. 0:
    only `min_body_rate` counts."""
    min_body_rate: Bytes = Bytes(KIB)
    """Bytes a second a request's body or a download has to move, on average over `min_body_window`; slower
    ones are cut. 0: never."""
    min_body_window: Seconds = Seconds(60)
    """Time over which `min_body_rate` is measured."""
    requests_per_address: int = 512
    """Requests of one client address that a worker answers at once; more is 429. A /64 of IPv6 counts as one
    address, all of loopback and each proxy that names no client as one with eight times as many. 0: no
    limit."""
    connections_per_address: int = 1_024
    """Connections of one address to a worker, counted in the same way but with whoever connects, proxies
    too. When there are more, those without a request are closed. 0: no limit."""
    manifest_bytes: Bytes = Bytes(4 * MIB)
    """Largest manifest; larger is 413."""
    json_depth: int = 32
    """Deepest nesting of a manifest's JSON."""
    json_elements: int = 50_000
    """Values in a manifest's JSON."""
    manifest_layers: int = 1_000
    """Layers of one manifest."""
    index_width: int = 1_000
    """Manifests of one index."""
    index_depth: int = 8
    """Indexes nested in one another."""
    annotation_bytes: Bytes = Bytes(64 * KIB)
    """Longest annotation value."""
    blob_bytes: Bytes = Bytes(64 * GIB)
    """Largest blob; larger is 413."""
    upload_ttl: Seconds = Seconds(DAY)
    """How long an upload may lie idle before it is removed."""
    tags_per_push: int = 32
    """Tags one manifest push may set with `tag=` parameters."""
    uploads_per_principal: int = 32
    """Uploads one account may write to at once; more is 429. 0: no limit. Open mode does not count."""
    page_size: int = 1_000
    """Most entries of one page of tags, repositories or referrers; a larger `n` is clamped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestsSection:
    """What is asked of a pushed manifest."""

    sparse: Literal["off", "index", "all"] = "off"
    """References that may be missing: none (`off`), manifests of an index (`index`), or layers and configs
    too (`all`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcSection:
    """Removing what nothing refers to."""

    enabled: bool = True
    """Collect in the background while serving."""
    interval: Seconds = Seconds(HOUR)
    """Time between two runs."""
    lease: Seconds = Seconds(DAY)
    """How long a pushed or checked blob is kept although no manifest refers to it yet."""
    undo_window: Seconds = Seconds(7 * DAY)
    """How long a deleted manifest or blob can be brought back."""
    trash_delay: Seconds = Seconds(HOUR)
    """How long bytes stay on disk after their last row is gone, so that downloads under way can finish."""
    untagged: bool = False
    """Also remove manifests without a tag that no index and no referrer needs."""
    untagged_after: Seconds = Seconds(7 * DAY)
    """Age from which an untagged manifest goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSection:
    """The feed of what happened."""

    keep: Seconds = Seconds(7 * DAY)
    """How long an event can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubSection:
    """Reading stored blobs again, to notice damage before a client does."""

    enabled: bool = True
    """Scrub in the background while serving."""
    interval: Seconds = Seconds(HOUR)
    """Time between two runs."""
    run_bytes: Bytes = Bytes(10 * GIB)
    """Most that one run reads; the next goes on where it ended."""
    rate: Bytes = Bytes(32 * MIB)
    """Bytes a second, so that pulls do not suffer."""
    every: Seconds = Seconds(7 * DAY)
    """Time between the beginnings of two rounds through all blobs; a round that takes longer is followed by
    the next one at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSource:
    """Where the bytes of a damaged or missing blob may be had again. Each is verified by its digest."""

    url: str
    """`https://registry.example.org` (another registry with the same repositories; a path is put before their
    names; `http://` where it speaks that), or a backup: a folder, or `s3://bucket/prefix` (also gs, az)."""
    username: str = ""
    """Of an account that may pull from the registry."""
    password: Secret = NO_SECRET
    """Its password or token."""
    endpoint: str = ""
    """As in `[storage]`, for a backup in a bucket; so are the four below."""
    region: str = ""
    """Region of the bucket."""
    access_key_id: str = ""
    """Key id for the bucket."""
    secret_access_key: Secret = NO_SECRET
    """Secret that belongs to `access_key_id`."""
    allow_http: bool = False
    """Speak plain HTTP to `endpoint`."""
    key_file: Path | None = None
    """Key file of an encrypted backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSection:
    """Bringing damaged and missing blobs back by itself, when scrub or `admin fsck --repair` finds them."""

    sources: tuple[RepairSource, ...] = ()
    """Places to fetch them from, asked in this order; in a file only, as `[[repair.sources]]` tables with
    `url` and, where needed, `username`, `password`, `endpoint`, `region`, `access_key_id`,
    `secret_access_key`, `allow_http`, `key_file`. Empty: a blob comes back when it is pushed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """What is written where."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important event that is logged."""
    access: str = "stdout"
    """Where the access log goes, one JSON object a request: `stdout`, `stderr`, a file's path, or `off`."""
    format: Literal["auto", "json", "text"] = "auto"
    """Form of other log lines on stderr: `text` for people, `json` for machines, `auto` asks whether
    stderr is a terminal."""
    slow_query: Seconds = Seconds(1)
    """A call to the database that takes longer is logged as `slow query`. 0: never."""
    slow_store: Seconds = Seconds(5)
    """A call to the disk or object store that takes longer is logged as `slow store`. 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSection:
    """Traces for OpenTelemetry; needs the extra `entrepot[tracing]`."""

    endpoint: str = ""
    """Collector that spans are sent to over OTLP/HTTP, as in `http://127.0.0.1:4318`. Empty: off."""
    sample: float = 1.0
    """Share of requests that are traced, between 0 and 1; a caller's own decision comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSection:
    """Figures, for Prometheus to fetch or for an OpenTelemetry collector."""

    enabled: bool = True
    """Answer `/metrics`."""
    listen: tuple[str, ...] = ()
    """Addresses for `/metrics`, `/healthz` and `/readyz` apart from the registry's; given, the registry's
    own stop answering `/metrics`."""
    otlp_endpoint: str = ""
    """Collector that figures are sent to over OTLP/HTTP, as in `http://127.0.0.1:4318`. Empty: off."""
    otlp_interval: Seconds = Seconds(60)
    """How often; at least a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSection:
    """The management API and the pages."""

    enabled: bool = True
    """Serve pages and the management API."""
    listen: tuple[str, ...] = ()
    """Addresses for pages and management API apart from the registry's; given, the registry's own stop
    serving them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightSection:
    """Looking into images: lists of their files, made behind pushes."""

    enabled: bool = True
    """Read the layers of pushed images, so that their files can be browsed, searched and compared."""
    interval: Seconds = Seconds(10)
    """Time between two looks for images that are new."""
    skip_projects: tuple[str, ...] = ()
    """Projects whose images are not looked into; `*` stands for anything, as in `scratch-*`."""
    max_layer_bytes: Bytes = Bytes(16 * GIB)
    """Images with a larger layer are not looked into. As stored."""
    memory: Bytes = Bytes(1 * GIB)
    """Most that a process which reads a layer may take."""
    timeout: Seconds = Seconds(HOUR)
    """Most time that reading one layer may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullThroughSection:
    """Fetching what is asked of a proxy project from its upstream."""

    fresh: Seconds = Seconds(5 * MINUTE)
    """How long an upstream's word on a tag is taken as it is; after that it is asked again, by HEAD."""
    stale: Seconds = Seconds(30 * MINUTE)
    """An older word than `fresh` that is younger than this is still served at once, and asked for again in
    the background."""
    negative: Seconds = Seconds(10)
    """How long "there is no such thing" and "the upstream can't be used now" are remembered."""
    reserve: int = 10
    """Pulls of an upstream's budget (`ratelimit-remaining`) that are kept for what is not here: with fewer
    left, a tag that has moved is served as it is here."""
    serve_gone: bool = False
    """Go on serving, from what is kept here, a tag that its upstream does not have any more."""
    patience: Seconds = Seconds(5)
    """How long a pull of a tag that is here waits for the upstream's word before it gets what is here."""
    timeout: Seconds = Seconds(30)
    """Longest silence of an upstream, in an answer and before it."""
    fetches: int = 16
    """Blobs that one process fetches at a time; others wait for their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of it."""

    server: ServerSection = field(default_factory=ServerSection)
    tls: TlsSection = field(default_factory=TlsSection)
    storage: StorageSection = field(default_factory=StorageSection)
    catalog: CatalogSection = field(default_factory=CatalogSection)
    access: AccessSection = field(default_factory=AccessSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    manifests: ManifestsSection = field(default_factory=ManifestsSection)
    gc: GcSection = field(default_factory=GcSection)
    events: EventsSection = field(default_factory=EventsSection)
    scrub: ScrubSection = field(default_factory=ScrubSection)
    repair: RepairSection = field(default_factory=RepairSection)
    log: LogSection = field(default_factory=LogSection)
    tracing: TracingSection = field(default_factory=TracingSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    admin: AdminSection = field(default_factory=AdminSection)
    insight: InsightSection = field(default_factory=InsightSection)
    pull_through: PullThroughSection = field(default_factory=PullThroughSection)
