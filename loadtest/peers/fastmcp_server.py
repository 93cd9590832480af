"""FastMCP, one uvicorn worker, no session.  usage: fastmcp_server.py PORT [SECRET]

With SECRET the tool is behind a JWT (HS256) and a scope, as ours always is.
"""

import os
import sys

os.environ.setdefault("FASTMCP_LOG_LEVEL", "WARNING")
os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")

import uvicorn  # noqa: E402
from fastmcp import FastMCP  # noqa: E402

port = int(sys.argv[1])
auth, guard = None, {}
if len(sys.argv) > 2:
    from fastmcp.server.auth import require_scopes
    from fastmcp.server.auth.providers.jwt import JWTVerifier

    auth = JWTVerifier(public_key=sys.argv[2], algorithm="HS256", issuer="bench", audience="bench")
    guard = {"auth": require_scopes("tools:call")}
server = FastMCP("fastmcp", auth=auth)


@server.tool(**guard)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


app = server.http_app(path="/mcp", json_response=True, stateless_http=True)
uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
