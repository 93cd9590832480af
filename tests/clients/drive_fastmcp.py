"""Drives the server with the FastMCP client: drive_fastmcp.py URL TOKEN MODE -> one JSON line.

MODE is `auto` (2026-07-28) or `legacy` (2025-11-25).
"""

import asyncio
import json
import sys
import time

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError


async def main(url: str, token: str, mode: str) -> None:
    asked, progress = [], []

    async def elicited(message, response_type, params, context):
        asked.append(message)
        return {"delete": True}

    async def on_progress(value, total, message):
        progress.append([value, message])

    transport = StreamableHttpTransport(url, headers={"Authorization": f"Bearer {token}"})
    async with Client(transport, mode=mode, elicitation_handler=elicited) as client:
        tools = await client.list_tools()
        ran = await client.call_tool("execute_code", {"code": "print(6*7)"})
        code = "import time\nfor i in range(3):\n  print('line', i, flush=True)\n  time.sleep(0.3)\n"
        await client.call_tool("execute_code", {"code": code}, progress_handler=on_progress)
        wrong = await client.call_tool("execute_code", {"code": "x", "timeout_seconds": 9000}, raise_on_error=False)
        try:
            await client.call_tool("execute_code", {"code": "x", "timeout_seconds": 9000})
            raised = False
        except ToolError:
            raised = True
        prompts = await client.list_prompts()
        prompt = await client.get_prompt("code_review", {"code": "x = 1", "seniority": "junior"})
        resources = await client.list_resources()
        templates = await client.list_resource_templates()
        readme = await client.read_resource("resource://ultimate-mcp/readme")
        key = f"fastmcp-{mode}"
        await client.call_tool("graph_upsert", {"nodes": [{"key": key, "labels": ["Asked"], "properties": {}}]})
        deleted = await client.call_tool("graph_delete", {"nodes": [key], "confirm": True})
        began = time.monotonic()
        try:
            sleeping = client.call_tool("execute_code", {"code": "import time\ntime.sleep(45)", "timeout_seconds": 50})
            await asyncio.wait_for(sleeping, 0.8)
            cancelled = "answered"
        except (TimeoutError, asyncio.TimeoutError):
            cancelled = round((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.5)  # until the server has heard of it
        print(
            json.dumps(
                {
                    "version": client.protocol_version,
                    "tools": [tool.name for tool in tools],
                    "ran": ran.structured_content,
                    "progress": progress,
                    "wrong": {"is_error": wrong.is_error, "text": wrong.content[0].text, "raised": raised},
                    "prompts": [prompt.name for prompt in prompts],
                    "prompt": prompt.messages[0].content.text,
                    "resources": [str(resource.uri) for resource in resources],
                    "templates": len(templates),
                    "readme": readme[0].text,
                    "asked": asked,
                    "deleted": deleted.structured_content,
                    "cancelled": cancelled,
                }
            )
        )


asyncio.run(main(*sys.argv[1:]))
