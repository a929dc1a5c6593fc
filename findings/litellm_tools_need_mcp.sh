#!/usr/bin/env bash
# A chat completion with an ordinary function tool needs the package `mcp`, which litellm does not depend on: its import is looked
# for before the request, and what acompletion raises reads as a failure of the connection, which callers try again.
# Seen with litellm==1.106.2 installed plainly, an OpenAI-compatible server on the loopback address, and one function tool:
#   without tools: answered
#   with a tool: ModuleNotFoundError: No module named 'mcp' (acompletion: APIConnectionError), and no request reaches the server
#   with a tool and the (undocumented) argument _skip_mcp_handler=True: answered
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q litellm==1.106.2
cat >"$folder/seen.py" <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
seen = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        seen.append(self.rfile.read(int(self.headers["content-length"])))
        data = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()

import litellm

litellm.suppress_debug_info = True
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def asked(**more):
    before = len(seen)
    try:
        litellm.completion(
            model="openai/m", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="k", num_retries=0,
            max_retries=0, messages=[{"role": "user", "content": "hi"}], **more,
        )
        return "answered", len(seen) - before
    except Exception as error:
        return f"{type(error).__name__}{' mcp' if 'mcp' in str(error) else ''}", len(seen) - before


plain, tool, skipped = asked(), asked(tools=[TOOL]), asked(tools=[TOOL], _skip_mcp_handler=True)
print("plain", plain, "| with a tool", tool, "| with a tool, skipping", skipped)
assert plain == skipped == ("answered", 1), (plain, skipped)
assert tool[0].endswith(" mcp") and tool[1] == 0, tool
PY
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/seen.py" 2>/dev/null
