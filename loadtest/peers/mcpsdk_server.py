"""The official Python SDK, one uvicorn worker, no session.  usage: mcpsdk_server.py PORT"""

import logging
import sys

import uvicorn
from mcp.server import MCPServer

server = MCPServer("mcpsdk", log_level="WARNING")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


app = server.streamable_http_app(json_response=True, stateless_http=True)
logging.getLogger().setLevel(logging.WARNING)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
