"""`GET /v2/<name>/referrers/<digest>` (distribution-spec, "Listing Referrers"): always 200 with an index."""

from __future__ import annotations

import msgspec

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.distribution import referrers_path
from entrepot.oci.mediatype import OCI_INDEX
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import API_VERSION, INERT, Response, number
from entrepot.server.repos.referrers import ReferrersPage
from entrepot.server.v2 import names
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import next_link, page_of


async def list_referrers(context: V2Context, request: HttpRequest, name: str, subject: str) -> Response:
    repository = names.repository(name)
    wanted = names.digest(subject)
    count, last = page_of(request, most=context.services.config.limits.page_size)
    artifact_type = request.parameter("artifactType") or None
    page = await context.services.referrers.list(
        repository, wanted, artifact_type=artifact_type, last=last, n=count
    )
    listed, more = list(page.descriptors), page.more
    elsewhere = await context.services.pull_through.referrers.of(repository, wanted)
    if elsewhere:
        listed, more = _merged(page, elsewhere, artifact_type=artifact_type, last=last, count=count)
    body = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor.to_json() for descriptor in listed],
        }
    )
    headers = [
        API_VERSION,
        (b"content-type", OCI_INDEX.encode("ascii")),
        *INERT,
        (b"content-length", number(len(body))),
    ]
    filters = {} if artifact_type is None else {"artifactType": artifact_type}
    if filters:
        headers.append((b"oci-filters-applied", b"artifactType"))
    if more and listed:
        path = referrers_path(repository, wanted)
        headers.append(next_link(path, n=count, last=str(listed[-1].digest), **filters))
    return Response(200, headers, body)


def _merged(
    page: ReferrersPage,
    elsewhere: tuple[Descriptor, ...],
    *,
    artifact_type: str | None,
    last: str | None,
    count: int,
) -> tuple[list[Descriptor], bool]:
    """A page of what is here and what the upstream of a proxy project lists: both after `last`, in order."""
    found = {
        str(one.digest): one
        for one in elsewhere
        if str(one.digest) > (last or "") and artifact_type in {None, one.artifact_type}
    }
    found |= {str(one.digest): one for one in page.descriptors}
    ordered = [found[digest] for digest in sorted(found)]
    return ordered[:count], page.more or len(ordered) > count
