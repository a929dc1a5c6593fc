#!/usr/bin/env bash
# A reply of OpenAI's Responses API that reaches max_output_tokens ends with response.incomplete: its text so far is there and is
# paid for. Whether a program gets it depends on who asks, and how. Seen with one such reply, "hello there":
#   openai==3.57.0, responses.create: "hello there", status incomplete
#   openai==3.57.0, responses.stream and get_final_response: RuntimeError, "Didn't receive a `response.completed` event."; the
#     event with the text and the usage came and is dropped, and a response.failed with the server's message ends so too
#   openai-agents==0.24.0, streamed or not: ModelBehaviorError, without text or usage
#   langchain-openai==1.7.4, streamed or not: "hello there", status incomplete
# Whoever tries again on an error pays for the same cut reply as often as he tries.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openai==3.57.0 openai-agents==0.24.0 langchain-openai==1.7.4
cat >"$folder/seen.py" <<'PY'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PART = {"type": "output_text", "text": "hello there", "annotations": []}
ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "incomplete", "content": [PART]}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def response(status, output, **more):
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": output,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": {
            "input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        **more,
    }


BEGUN = {"type": "response.created", "response": response("in_progress", [])}
CUT = [
    BEGUN,
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM | {"status": "in_progress", "content": []}},
    {"type": "response.content_part.added", **AT, "part": PART | {"text": ""}},
    {"type": "response.output_text.delta", **AT, "delta": "hello there", "logprobs": []},
    {"type": "response.output_text.done", **AT, "text": "hello there", "logprobs": []},
    {"type": "response.content_part.done", **AT, "part": PART},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
    {
        "type": "response.incomplete",
        "response": response("incomplete", [ITEM], incomplete_details={"reason": "max_output_tokens"}),
    },
]
BROKEN = {"code": "server_error", "message": "the model is down"}
FAILED = [BEGUN, {"type": "response.failed", "response": response("failed", [], error=BROKEN)}]
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

from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI

set_tracing_disabled(True)
client = OpenAI(base_url=url, api_key="k")
chain = ChatOpenAI(base_url=url, api_key="k", model="m", use_responses_api=True)


def agent():
    return Agent(name="a", model=OpenAIResponsesModel(model="m", openai_client=AsyncOpenAI(base_url=url, api_key="k")))


def created():
    answer = client.responses.create(model="m", input="hi")
    return answer.output_text, answer.status


def streamed():
    with client.responses.stream(model="m", input="hi") as stream:
        for _ in stream:
            pass
        return stream.get_final_response().output_text


def agent_whole():
    return asyncio.run(Runner.run(agent(), "hi")).final_output


async def agent_events():
    result = Runner.run_streamed(agent(), "hi")
    async for _ in result.stream_events():
        pass
    return result.final_output


def chain_whole():
    answer = chain.invoke("hi")
    return answer.text, answer.response_metadata["status"]


def chain_streamed():
    whole = None
    for part in chain.stream("hi"):
        whole = part if whole is None else whole + part
    return whole.text, whole.response_metadata["status"]


def seen(name, ask):
    try:
        got = ask()
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
    print(name, "->", got)
    return got


TEXT = ("hello there", "incomplete")
events[:] = CUT
assert seen("openai", created) == TEXT
assert seen("openai, streamed", streamed) == "RuntimeError: Didn't receive a `response.completed` event."
for name, ask in (("agents", agent_whole), ("agents, streamed", lambda: asyncio.run(agent_events()))):
    got = seen(name, ask)
    assert got.startswith("ModelBehaviorError") and "hello" not in got
assert seen("langchain", chain_whole) == seen("langchain, streamed", chain_streamed) == TEXT
events[:] = FAILED
assert seen("openai, streamed, failed", streamed) == "RuntimeError: Didn't receive a `response.completed` event."
PY
"$folder/venv/bin/python" "$folder/seen.py" 2>/dev/null
