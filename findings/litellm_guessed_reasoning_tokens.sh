#!/usr/bin/env bash
# Anthropic's API tells no count of reasoning tokens: its usage has one output_tokens for thinking and text together. litellm's
# answer tells one all the same, beside counts that are the provider's own, with nothing that marks it as a guess.
# Seen with litellm==1.106.2 and an answer that thinks 400 words, says one, and tells output_tokens: 5:
#   completion_tokens 5, completion_tokens_details.reasoning_tokens 5 (made from the thinking's text, at most all of the reply)
# Whoever records or bills reasoning tokens by these fields adds up guesses for one provider and counts for the others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q litellm==1.106.2
cat >"$folder/seen.py" <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [
        {"type": "thinking", "thinking": "let me think " * 133, "signature": "sig"},
        {"type": "text", "text": "done"},
    ],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 5},
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
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

usage = litellm.completion(
    model="anthropic/claude-sonnet-4-5", api_base=f"http://127.0.0.1:{server.server_port}", api_key="k", max_tokens=8000,
    messages=[{"role": "user", "content": "hi"}], thinking={"type": "enabled", "budget_tokens": 2000},
).usage
print("completion", usage.completion_tokens, "reasoning", usage.completion_tokens_details.reasoning_tokens)
assert usage.completion_tokens == 5, usage
assert usage.completion_tokens_details.reasoning_tokens > 0, "it tells no count any more"
PY
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/seen.py"
