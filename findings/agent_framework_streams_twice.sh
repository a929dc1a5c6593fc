#!/usr/bin/env bash
# agent-framework's OpenAIChatClient speaks OpenAI's Responses API. Two things about what an agent on it streams:
#   - Pieces of text that are printed or joined as they come hold the whole text once more at the end: response.output_text.done
#     becomes an update whose .text is all of it. Its content is marked to replace what came before, which .text does not tell.
#     Only get_final_response() has the text once.
#   - A reply that ends with response.failed is an empty answer, with no error: the server's message is nowhere, and its tokens are
#     counted as those of a reply. Not streamed it is the same (status "failed" in a whole response). A chain goes on with "".
# Seen with agent-framework-openai==1.17.0, agent-framework-core==1.23.0 and the events in the order in which OpenAI sends them:
#   pieces "hello ", "there", "hello there"; final text "hello there"
#   failed, streamed and whole: text "", no exception (langchain-openai==1.7.4, the same events: ValueError with the message)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q agent-framework-openai==1.17.0 agent-framework-core==1.23.0 langchain-openai==1.7.4
cat >"$folder/seen.py" <<'PY'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PART = {"type": "output_text", "text": "hello there", "annotations": []}
ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [PART]}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def response(status, output, error=None):
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": output, "error": error,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


BEGUN = {"type": "response.created", "response": response("in_progress", [])}
ANSWERED = [
    BEGUN,
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM | {"status": "in_progress", "content": []}},
    {"type": "response.content_part.added", **AT, "part": PART | {"text": ""}},
    {"type": "response.output_text.delta", **AT, "delta": "hello ", "logprobs": []},
    {"type": "response.output_text.delta", **AT, "delta": "there", "logprobs": []},
    {"type": "response.output_text.done", **AT, "text": "hello there", "logprobs": []},
    {"type": "response.content_part.done", **AT, "part": PART},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
    {"type": "response.completed", "response": response("completed", [ITEM])},
]
BROKEN = {"code": "server_error", "message": "the model is down"}
FAILED = [BEGUN, {"type": "response.failed", "response": response("failed", [], BROKEN)}]
events = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        streams = json.loads(self.rfile.read(int(self.headers["content-length"]))).get("stream")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streams else "application/json")
        self.end_headers()
        if not streams:
            self.wfile.write(json.dumps(events[-1]["response"]).encode())
            return
        for number, event in enumerate(events):
            data = json.dumps(event | {"sequence_number": number})
            self.wfile.write(f"event: {event['type']}\ndata: {data}\n\n".encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient
from langchain_openai import ChatOpenAI


async def streamed():
    stream = Agent(client=OpenAIChatClient(model="m", base_url=url, api_key="k")).run("hi", stream=True)
    pieces = [update.text async for update in stream if update.text]
    return pieces, (await stream.get_final_response()).text


async def whole():
    return (await Agent(client=OpenAIChatClient(model="m", base_url=url, api_key="k")).run("hi")).text


events[:] = ANSWERED
answered = asyncio.run(streamed())
events[:] = FAILED
failed = asyncio.run(streamed()), asyncio.run(whole())
try:
    list(ChatOpenAI(base_url=url, api_key="k", model="m", use_responses_api=True).stream("hi"))
    other = "no error"
except ValueError as error:
    other = str(error)
print("answered", answered, "| failed", failed, "| failed, langchain-openai:", other)
assert answered == (["hello ", "there", "hello there"], "hello there")
assert failed == (([], ""), "")
assert "the model is down" in other
PY
"$folder/venv/bin/python" "$folder/seen.py"
