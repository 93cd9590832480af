"""Drives the server with the official Python client: drive.py URL TOKEN MODE -> one JSON line.

URL may also be the parameters of a server to start, as JSON (stdio); TOKEN then goes into its environment.

MODE is `auto` (2026-07-28) or `legacy` (2025-11-25). The client itself checks structured results
against the output schemas that tools/list gave it.
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


async def main(url: str, token: str, mode: str) -> None:
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
    progress, logs = [], []

    async def on_progress(value, total, message):
        progress.append([value, message])

    async def on_log(params):
        logs.append(params.data)

    if url.startswith("{"):
        server = json.loads(url)
        if token:
            server["env"]["ULTIMATE_MCP_TOKEN"] = token
        transport = stdio_client(StdioServerParameters(**server))
    else:
        transport = streamable_http_client(url, http_client=http)
    async with http, Client(transport, mode=mode, logging_callback=on_log, log_level="info") as client:
        tools, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        ran = await client.call_tool("execute_code", {"code": "print(6*7)", "language": "python"})
        if mode == "legacy":
            await client.set_logging_level("info")
        code = "import time\nfor i in range(3):\n  print('line', i, flush=True)\n  time.sleep(0.3)\n"
        await client.call_tool("execute_code", {"code": code}, progress_callback=on_progress)
        wrong = await client.call_tool("execute_code", {"code": "print(1)", "timeout_seconds": 9000})
        lint = await client.call_tool("lint_code", {"code": "import os\ndef f(a):\n  return a\n"})
        await client.call_tool(
            "graph_upsert",
            {
                "nodes": [
                    {"key": f"{mode}:ada", "labels": ["Person"], "properties": {"name": "Ada"}},
                    {"key": f"{mode}:engine", "labels": ["Machine"], "properties": {"parts": 25000}},
                ],
                "relationships": [
                    {"start": f"{mode}:ada", "end": f"{mode}:engine", "type": "DESCRIBED", "properties": {}}
                ],
            },
        )
        rows = await client.call_tool(
            "graph_query",
            {
                "cypher": "MATCH (p:Person {key: $key})-[:DESCRIBED]->(m) RETURN p.name AS who, m.parts AS parts",
                "parameters": {"key": f"{mode}:ada"},
            },
        )
        prompts = await client.list_prompts()
        prompt = await client.get_prompt("code_review", {"code": "x = 1", "seniority": "junior"})
        resources = await client.list_resources()
        templates = await client.list_resource_templates()
        readme = await client.read_resource("resource://ultimate-mcp/readme")
        node = await client.read_resource(f"resource://ultimate-mcp/graph/nodes/{mode}:ada")
        print(
            json.dumps(
                {
                    "version": client.protocol_version,
                    "tools": [t.name for t in tools],
                    "ran": ran.structured_content,
                    "wrong": {"is_error": wrong.is_error, "text": wrong.content[0].text},
                    "progress": progress,
                    "logs": logs,
                    "lint": lint.structured_content,
                    "rows": rows.structured_content,
                    "prompts": [p.name for p in prompts.prompts],
                    "prompt": prompt.messages[0].content.text,
                    "resources": [str(r.uri) for r in resources.resources],
                    "templates": len(templates.resource_templates),
                    "readme": readme.contents[0].text,
                    "node": json.loads(node.contents[0].text),
                }
            )
        )


asyncio.run(main(*sys.argv[1:4]))
