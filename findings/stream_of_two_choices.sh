#!/usr/bin/env bash
# A stream with n=2 holds pieces of two answers, told apart by their index. Who draws several votes in one streamed request gets
# one answer made of both from two widely used libraries, without a word. Seen with one such stream, of "red" and "blue":
#   openai==3.57.0, its stream accumulator: red | blue
#   litellm==1.106.2, stream_chunk_builder: one choice, "redblue", though each chunk that it is given tells its index
#   langchain-openai==1.7.4, the chunks of .stream() added up: "redblue", finish reason "stopstop" (streaming=True refuses n)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openai==3.57.0 langchain-openai==1.7.4
python3 -m venv "$folder/other"
"$folder/other/bin/pip" install -q litellm==1.106.2
cat >"$folder/server.py" <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def chunk(index, delta, finish=None):
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


CHUNKS = [
    chunk(0, {"role": "assistant", "content": "red"}), chunk(1, {"role": "assistant", "content": "blue"}),
    chunk(0, {}, "stop"), chunk(1, {}, "stop"),
]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        assert json.loads(self.rfile.read(int(self.headers["content-length"])))["n"] == 2
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
asked = {"model": "m", "messages": [{"role": "user", "content": "a colour"}], "n": 2}
PY
cat >"$folder/seen.py" <<'PY'
from langchain_openai import ChatOpenAI
from openai import OpenAI
from server import asked, url

with OpenAI(base_url=url, api_key="k").chat.completions.stream(**asked) as stream:
    for _ in stream:
        pass
    apart = [choice.message.content for choice in stream.get_final_completion().choices]
whole = None
for part in ChatOpenAI(base_url=url, api_key="k", model="m", n=2).stream("a colour"):
    whole = part if whole is None else whole + part
print("openai", apart, "| langchain-openai", whole.content, whole.response_metadata["finish_reason"])
assert apart == ["red", "blue"]
assert (whole.content, whole.response_metadata["finish_reason"]) == ("redblue", "stopstop")
PY
cat >"$folder/other.py" <<'PY'
import litellm
from server import asked, url

litellm.suppress_debug_info = True
chunks = list(litellm.completion(**asked | {"model": "openai/m"}, api_base=url, api_key="k", stream=True))
told = {(choice.index, choice.delta.content) for one in chunks for choice in one.choices if choice.delta.content}
built = [choice.message.content for choice in litellm.stream_chunk_builder(chunks).choices]
print("litellm", built, "from", sorted(told))
assert told == {(0, "red"), (1, "blue")}
assert built == ["redblue"]
PY
"$folder/venv/bin/python" "$folder/seen.py"
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/other/bin/python" "$folder/other.py" 2>/dev/null
