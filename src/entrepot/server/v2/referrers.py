"""`GET /v2/<name>/referrers/<digest>` (distribution-spec, "Listing Referrers"): always 200 with an index."""

from __future__ import annotations

import msgspec

from entrepot.oci.distribution import referrers_path
from entrepot.oci.mediatype import OCI_INDEX
from entrepot.server.http.request import Request
from entrepot.server.http.response import API_VERSION, INERT, Response, number
from entrepot.server.v2 import names
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.paging import next_link, page_of


async def list_referrers(context: V2Context, request: Request, name: str, subject: str) -> Response:
    repository = names.repository(name)
    wanted = names.digest(subject)
    count, last = page_of(request, most=context.services.config.limits.page_size)
    artifact_type = request.parameter("artifactType") or None
    page = await context.services.referrers.list(
        repository, wanted, artifact_type=artifact_type, last=last, n=count
    )
    body = msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor.to_json() for descriptor in page.descriptors],
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
    if page.more and page.descriptors:
        path = referrers_path(repository, wanted)
        headers.append(next_link(path, n=count, last=str(page.descriptors[-1].digest), **filters))
    return Response(200, headers, body)
