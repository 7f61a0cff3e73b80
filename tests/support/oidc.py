"""npm's `oidc-provider` as an identity provider that knows everybody; `boss` is among the `leads`."""

import contextlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import started
from tests.support.programs import missing, require_program

CLIENT_SECRET = "client-secret-for-tests"
MODULES = Path(os.environ.get("ENTREPOT_NODE", Path(__file__).resolve().parents[2] / ".cache" / "node"))
SCRIPT = """
import { Provider } from 'oidc-provider';
const port = Number(process.argv[2]);
const redirect = process.argv[3];
const provider = new Provider(`http://localhost:${port}`, {
  clients: [{
    client_id: 'entrepot', client_secret: 'client-secret-for-tests', redirect_uris: [redirect],
    grant_types: ['authorization_code'], response_types: ['code'],
  }],
  claims: {
    openid: ['sub'], profile: ['name', 'preferred_username', 'groups'], email: ['email', 'email_verified'],
  },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ['only for tests'] },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({
      sub: id, name: `Person ${id}`, preferred_username: id, groups: id === 'boss' ? ['leads'] : ['staff'],
      email: `${id}@example.org`, email_verified: true,
    }),
  }),
});
provider.listen(port, () => console.log('listening'));
"""


@contextlib.contextmanager
def oidc_provider(folder: Path, redirect: str) -> Iterator[str]:
    """Its issuer address, while it runs. The client is `entrepot`, and comes back to `redirect`."""
    node = require_program("node")
    if not (MODULES / "node_modules" / "oidc-provider").exists():
        missing("oidc-provider (npm)")
    port = free_port()
    (folder / "node_modules").symlink_to(MODULES / "node_modules")
    (folder / "provider.mjs").write_text(SCRIPT)
    issuer = f"http://localhost:{port}"

    def ready() -> bool:
        try:
            urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=5).close()
        except OSError:
            return False
        return True

    argv = [node, str(folder / "provider.mjs"), str(port), redirect]
    with started(argv, log=folder / "log", ready=ready, cwd=folder):
        yield issuer
