#!/usr/bin/env bash
# Rows of tool calls, each with its own tools, come out of `datasets` in two forms, by the door that they went in through.
# Dataset.from_list gives every call the arguments of all tools, and every schema the properties of all, null where a row has none;
# Dataset.from_generator and load_dataset("json") give the rows as they were. No error, no warning. A chat template that writes
# arguments as JSON (Qwen's and Hermes' do) then shows the nulls, so that a model which is trained on such rows learns to name the
# arguments of other tools.
# Seen with datasets==5.2.0 and transformers==5.23.0, two rows that call look(city) and add(x, y), as the template writes the first:
#   from_generator, load_dataset: {"name": "look", "arguments": {"city": "Rome"}}
#   from_list: {"name": "look", "arguments": {"city": "Rome", "x": null, "y": null}}, and "x": null among the tool's properties
# SFTTrainer of trl==1.16.0 tokenizes what from_list gave with its nulls.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datasets==5.2.0 transformers==5.23.0 jinja2
cat >"$folder/seen.py" <<'PY'
import json
import sys

import datasets
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

TEMPLATE = (
    "{{ tools | tojson }}\n{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}{% endfor %}"
)


def row(name, arguments):
    kinds = {argument: {"type": "integer" if isinstance(value, int) else "string"} for argument, value in arguments.items()}
    function = {"name": name, "parameters": {"type": "object", "properties": kinds}}
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {
        "messages": [{"role": "user", "content": "do"}, {"role": "assistant", "content": "", "tool_calls": [call]}],
        "tools": [{"type": "function", "function": function}],
    }


def rows():
    yield row("look", {"city": "Rome"})
    yield row("add", {"x": 1, "y": 2})


cache = sys.argv[1]
file = f"{cache}/rows.jsonl"
with open(file, "w") as out:
    out.writelines(f"{json.dumps(one)}\n" for one in rows())
doors = {
    "from_list": datasets.Dataset.from_list(list(rows())),
    "from_generator": datasets.Dataset.from_generator(rows, cache_dir=cache),
    "load_dataset": datasets.load_dataset("json", data_files=file, split="train", cache_dir=cache),
}
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=TEMPLATE)
written = {}
for door, data in doors.items():
    text = tokenizer.apply_chat_template(data[0]["messages"], tools=data[0]["tools"], tokenize=False)
    print(door, "->", text)
    written[door] = [json.loads(line) for line in text.splitlines()]
plain = row("look", {"city": "Rome"})
for door in ("from_generator", "load_dataset"):
    assert written[door] == [plain["tools"], {"name": "look", "arguments": {"city": "Rome"}}]
tools, call = written["from_list"]
assert call == {"name": "look", "arguments": {"city": "Rome", "x": None, "y": None}}
assert tools[0]["function"]["parameters"]["properties"] == {"city": {"type": "string"}, "x": None, "y": None}
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder" 2>/dev/null
