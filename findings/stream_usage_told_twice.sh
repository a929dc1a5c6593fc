#!/usr/bin/env bash
# Some OpenAI-compatible servers tell a stream's token counts twice: in the chunk that holds the finish reason, and again in a
# last chunk without choices. Seen with one such stream that says 10 prompt and 5 completion tokens both times:
#   openai==3.57.0 (its stream accumulator): 10 / 5
#   langchain-openai==1.7.4: 20 / 10    pydantic-ai-slim==2.38.0: 20 / 10    smolagents==1.26.0: 20 / 10
# A server that wants to be counted right tells them once, in a chunk with an empty list of choices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openai==3.57.0 langchain-openai==1.7.4 pydantic-ai-slim[openai]==2.38.0 smolagents[openai]==1.26.0
cat >"$folder/seen.py" <<'PY'
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chunk(choices, **more):
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


CHUNKS = [
    chunk([{"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}]),
    chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USAGE),
    chunk([], usage=USAGE),
]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for one in CHUNKS:
            self.wfile.write(f"data: {json.dumps(one)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
seen = {}

from openai import OpenAI

with OpenAI(base_url=url, api_key="k").chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}]) as s:
    for _ in s:
        pass
    usage = s.get_final_completion().usage
seen["openai"] = (usage.prompt_tokens, usage.completion_tokens)

from langchain_openai import ChatOpenAI

whole = None
for part in ChatOpenAI(base_url=url, api_key="k", model="m", stream_usage=True).stream("hi"):
    whole = part if whole is None else whole + part
seen["langchain-openai"] = (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"])

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


async def run():
    agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="k")))
    async with agent.run_stream("hi") as result:
        await result.get_output()
    used = result.usage() if callable(result.usage) else result.usage
    return used.input_tokens, used.output_tokens


seen["pydantic-ai"] = asyncio.run(run())

from smolagents import OpenAIServerModel

total = [0, 0]
for delta in OpenAIServerModel("m", api_base=url, api_key="k").generate_stream([{"role": "user", "content": "hi"}]):
    if delta.token_usage:
        total[0] += delta.token_usage.input_tokens
        total[1] += delta.token_usage.output_tokens
seen["smolagents (its deltas, summed)"] = tuple(total)

print(seen)
assert seen == {
    "openai": (10, 5),
    "langchain-openai": (20, 10),
    "pydantic-ai": (20, 10),
    "smolagents (its deltas, summed)": (20, 10),
}
PY
"$folder/venv/bin/python" "$folder/seen.py"
