#!/usr/bin/env bash
# With drop_params=False (the default) litellm says that it refuses what a provider does not take. For Claude it leaves three things
# out of a request all the same, and says nothing: the model answers a question about a recording that it never got, and a call
# with response_format={"type": "json_object"} comes back as prose.
# Seen with litellm==1.106.2 and a server on the loopback address that keeps what it is sent:
#   an input_audio part, a video_url part beside a text: the text alone is sent
#   response_format json_object: not sent in any form (no tool, no instruction), and get_supported_openai_params names response_format
#   for comparison logit_bias: UnsupportedParamsError, and no request
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q litellm==1.106.2
cat >"$folder/seen.py" <<'PY'
import base64
import io
import json
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "It is about the weather."}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 5},
}
sent = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
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
TEXT = {"type": "text", "text": "What is said?"}
recording = io.BytesIO()
with wave.open(recording, "wb") as file:
    file.setparams((1, 2, 8000, 800, "NONE", ""))
    file.writeframes(bytes(1600))
AUDIO = {"type": "input_audio", "input_audio": {"data": base64.b64encode(recording.getvalue()).decode(), "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": "https://example.com/film.mp4"}}


def ask(content, **more):
    litellm.completion(
        model="anthropic/claude-sonnet-4-5", api_base=f"http://127.0.0.1:{server.server_port}", api_key="k", max_tokens=50,
        drop_params=False, messages=[{"role": "user", "content": content}], **more,
    )
    return sent[-1]


for part in (AUDIO, VIDEO):
    got = ask([TEXT, part])["messages"][0]["content"]
    print(part["type"], "->", got)
    assert got == [TEXT]
plain, held = ask([TEXT]), ask([TEXT], response_format={"type": "json_object"})
print("json_object ->", held)
assert held == plain
assert "response_format" in litellm.get_supported_openai_params("claude-sonnet-4-5", custom_llm_provider="anthropic")
before = len(sent)
try:
    ask([TEXT], logit_bias={"5": 1})
except litellm.UnsupportedParamsError:
    assert len(sent) == before
else:
    raise SystemExit("logit_bias was taken")
PY
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/seen.py" 2>/dev/null
