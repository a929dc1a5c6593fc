#!/usr/bin/env bash
# A tool of the Python MCP SDK whose parameter is `str | None` does not get every text that a client sends for it. A text that is a
# JSON object or list is read as JSON first, and is then refused as no text; the text "null" arrives as None. A parameter `str`
# gets all three as they are. A tool that writes files, or keeps notes, fails on JSON files alone, and the model is told that its
# string is no valid string.
# Seen with mcp==2.3.0, for a tool note(text: str | None = None):
#   '{"a": 1}' and '["a"]': "Input should be a valid string"    'null': None    '12', 'true', '"a"': as sent
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mcp==2.3.0
cat >"$folder/seen.py" <<'PY'
import asyncio

from mcp.client import Client
from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")


@server.tool()
def plain(text: str) -> str:
    return repr(text)


@server.tool()
def optional(text: str | None = None) -> str:
    return repr(text)


async def run():
    async with Client(server) as client:
        for text in ('{"a": 1}', '["a"]', "null", "12", "true", '"a"'):
            answers = []
            for tool in ("plain", "optional"):
                answer = await client.call_tool(tool, {"text": text})
                answers.append((answer.is_error, answer.content[0].text))
            print(text, "->", *answers)
            assert answers[0] == (False, repr(text))
            if text[0] in "{[":
                assert answers[1][0] and "Input should be a valid string" in answers[1][1]
            else:
                assert answers[1] == (False, repr(None if text == "null" else text))


asyncio.run(run())
PY
"$folder/venv/bin/python" "$folder/seen.py" 2>/dev/null
