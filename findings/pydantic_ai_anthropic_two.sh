#!/usr/bin/env bash
# pydantic-ai's extra for Anthropic asks for anthropic>=1.3.0, so that pip takes the newest. With anthropic 2.x its AnthropicModel
# fails before it sends anything: it makes messages by calling BetaMessageParam(role=..., content=...), which was a TypedDict and
# is a Union of three of them now. A package that is one major version behind what its own requirement admits looks like a fault
# of the server or the key to whoever installs both fresh.
# Seen with pydantic-ai-slim==2.38.0 and anthropic==2.14.0: TypeError: Cannot instantiate typing.Union, and no request
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'pydantic-ai-slim[anthropic]==2.38.0' anthropic==2.14.0
cat >"$folder/seen.py" <<'PY'
import anthropic
import httpx2
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

sent = []


def answer(request):
    sent.append(request)
    return httpx2.Response(200, json={
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    })


http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
client = anthropic.AsyncAnthropic(api_key="k", http_client=http)
model = AnthropicModel("claude-opus-4-5", provider=AnthropicProvider(anthropic_client=client))
try:
    Agent(model).run_sync("hi")
except TypeError as error:
    print(type(error).__name__, error, "| requests", len(sent))
    assert "Union" in str(error) and not sent
else:
    raise SystemExit("it works now")
PY
"$folder/venv/bin/python" "$folder/seen.py"
