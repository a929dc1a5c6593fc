#!/usr/bin/env bash
# AutoGen's OpenAI client asks for no token counts where it streams (the request has no stream_options), so that every message says
# that it took 0 tokens, which is a count and not "unknown". TokenUsageTermination adds these up: a team with
# model_client_stream=True never reaches the budget that stops it without. With stream_options={"include_usage": True} given to the
# client it does.
# Seen with autogen-agentchat==0.7.5, autogen-ext==0.7.5, openai==3.57.0, a server that tells 1,500 tokens a reply where it is asked
# to, a limit of 2,000 tokens or 20 messages:
#   whole: 2 requests, ended by tokens    streamed: 19 requests, ended by messages, total usage 0
#   streamed with include_usage: 2 requests, ended by tokens
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q autogen-agentchat==0.7.5 'autogen-ext[openai]==0.7.5' openai==3.57.0
cat >"$folder/seen.py" <<'PY'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "gpt-4.1-mini-2025-04-14"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
requests = []


def chunk(choices, **more):
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices, **more}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        requests.append(asked)
        streams = asked.get("stream")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streams else "application/json")
        self.end_headers()
        if not streams:
            message = {"role": "assistant", "content": "hello"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            self.wfile.write(json.dumps(chunk(choices, usage=USAGE) | {"object": "chat.completion"}).encode())
            return
        chunks = [
            chunk([{"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}]),
            chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
        ]
        if (asked.get("stream_options") or {}).get("include_usage"):
            chunks.append(chunk([], usage=USAGE))
        for one in chunks:
            self.wfile.write(f"data: {json.dumps(one)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination, TokenUsageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient


async def run(streams, **more):
    requests.clear()
    model = OpenAIChatCompletionClient(model="gpt-4.1-mini", base_url=url, api_key="k", **more)
    agent = AssistantAgent("a", model_client=model, model_client_stream=streams)
    limit = TokenUsageTermination(max_total_token=2000) | MaxMessageTermination(20)
    result = await RoundRobinGroupChat([agent], termination_condition=limit).run(task="hi")
    used = model.total_usage()
    return len(requests), result.stop_reason.split()[0], used.prompt_tokens + used.completion_tokens


whole, streamed = asyncio.run(run(False)), asyncio.run(run(True))
told = asyncio.run(run(True, stream_options={"include_usage": True}))
print("whole", whole, "| streamed", streamed, "| streamed with include_usage", told)
assert whole == told == (2, "Token", 3000)
assert streamed == (19, "Maximum", 0)
PY
"$folder/venv/bin/python" "$folder/seen.py"
