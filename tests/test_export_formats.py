"""Each format is read by its own consumer: OpenAI's schema, OpenTelemetry's parser, pyarrow."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from atlas.export import ExportPlan, Filters, export, run_rows
from atlas.export.preference import pairs
from atlas.records import STUDENT, TEACHER, Prompt, ToolCall
from atlas.testing.runs import write_run
from atlas.traces import Run
from tests.export_fixtures import TOOLS, desk_run, homes_run, lines, steps_run

ANY = ("*",)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(homes_run(tmp_path_factory.mktemp("runs") / "homes"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(desk_run(tmp_path_factory.mktemp("runs") / "desk"))


def exported(run: Run, out: Path, form: str, **settings: Any) -> list[dict[str, Any]]:
    export([run], out, ExportPlan(format=form, permitted=ANY, **settings))
    return lines(out / "train.jsonl")


# --- OpenAI's fine-tuning files ---------------------------------------------------------------------------------------
# As the API reference documents the lines of training files: FineTuneChatRequestInput, FineTunePreferenceRequestInput.


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Function(Strict):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    arguments: str


class Call(Strict):
    id: str = Field(min_length=1)
    type: Literal["function"]
    function: Function


class Said(Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[Call] | None = Field(default=None, min_length=1)
    tool_call_id: str | None = None
    weight: Literal[0, 1] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Said:
        if self.role == "assistant":
            assert self.content or self.tool_calls, "an assistant says something or calls a tool"
        else:
            assert self.content is not None and self.tool_calls is None and self.weight is None
        assert (self.tool_call_id is not None) == (self.role == "tool")
        return self


class Tool(Strict):
    type: Literal["function"]
    function: dict[str, Any]


class Input(Strict):
    messages: list[Said] = Field(min_length=1)
    tools: list[Tool] | None = Field(default=None, min_length=1)
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _answers(self) -> Input:
        open_calls: set[str] = set()
        for message in self.messages:
            if message.role == "tool":
                assert message.tool_call_id in open_calls, "a tool message answers a call before it"
            open_calls |= {call.id for call in message.tool_calls or ()}
        return self


class Preference(Strict):
    input: Input
    preferred_output: list[Said] = Field(min_length=1, max_length=1)
    non_preferred_output: list[Said] = Field(min_length=1, max_length=1)


def by_the_client(messages: list[dict[str, Any]]) -> None:
    """The client library's own types accept the messages too."""
    from openai.types.chat import ChatCompletionMessageParam

    plain = [{k: v for k, v in m.items() if k != "weight" and v is not None} for m in messages]
    TypeAdapter(list[ChatCompletionMessageParam]).validate_python(plain)


def test_openai_sft_lines_are_valid_and_train_on_the_last_message_alone(homes: Run, desk: Run, tmp_path: Path) -> None:
    for run in (homes, desk):
        rows = exported(run, tmp_path / run.name, "openai-sft")
        assert rows
        for row in rows:
            checked = Input.model_validate(row)
            by_the_client(row["messages"])
            *before, last = checked.messages
            assert last.role == "assistant" and last.weight is None
            assert all(m.weight == 0 for m in before if m.role == "assistant")
            if run is desk:
                assert row["tools"] == TOOLS and row["parallel_tool_calls"] is True
    last_calls = [row["messages"][-1].get("tool_calls", [None])[0] for row in lines(tmp_path / "desk" / "train.jsonl")]
    assert [c and c["function"] for c in last_calls] == [
        {"name": "look_up", "arguments": '{"order": "A0"}'},
        {"name": "refund", "arguments": '{"order": "A0"}'},
        None,
    ]


def test_multi_turn_tool_talk_is_kept_whole(desk: Run, tmp_path: Path) -> None:
    row = exported(desk, tmp_path / "out", "openai-sft")[-1]
    assert [m["role"] for m in row["messages"]] == [
        "system", "user", "assistant", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert row["messages"][3]["tool_call_id"] == row["messages"][2]["tool_calls"][0]["id"]


def test_openai_preference_lines_are_valid_and_hold_what_the_cascade_knew(
    homes: Run, desk: Run, tmp_path: Path
) -> None:
    for run in (homes, desk):
        rows = exported(run, tmp_path / run.name, "openai-preference")
        assert rows
        for row in rows:
            checked = Preference.model_validate(row)
            by_the_client([*row["input"]["messages"], *row["preferred_output"]])
            assert checked.input.messages[-1].role in ("user", "tool")
            assert row["preferred_output"] != row["non_preferred_output"]
    (first, *_) = lines(tmp_path / "desk" / "train.jsonl")
    (chosen,), (worse,) = first["preferred_output"], first["non_preferred_output"]
    assert chosen["tool_calls"][0]["function"]["name"] == "look_up"
    assert worse["tool_calls"][0]["function"] == {"name": "refund", "arguments": '{"order": "A0"}'}


def test_pairs_are_only_of_actions_that_differ_each_once(homes: Run, desk: Run) -> None:
    for row in run_rows(homes, permitted=ANY):
        found = list(pairs(row))
        assert bool(found) == row.escalated
        replies = [pair.rejected.content for pair in found]
        assert (
            len(set(replies)) == len(replies) == len({v.action for v in row.votes if v.actor == STUDENT}) * bool(found)
        )
        for pair in found:
            better, worse = pair.key.split("\n")
            assert pair.chosen == row.completion and better == row.action != worse
            assert pair.rejected.content == f"Thought: Perhaps so.\nAction: {worse}"
    assert not [pair for row in run_rows(desk) for pair in pairs(row)], "no pair without permission"
    one_sided = [row for row in run_rows(desk, permitted=["anthropic/*"]) if row.escalated]
    assert one_sided and not [pair for row in one_sided for pair in pairs(row)], "nor with permission for one of two"
    asked = [row for row in run_rows(desk, permitted=ANY) if row.escalated]
    assert [[pair.key.split("\n")[1] for pair in pairs(row)] for row in asked] == [
        ['refund({"order": "A0"})'],
        ['refund({"order": "A1"})'],
    ]


def test_an_audited_step_is_a_pair_where_the_teacher_would_have_done_something_else(tmp_path: Path) -> None:
    run = Run(homes_run(tmp_path / "run", 3, wrong=True, audit=1.0))
    audited = [row for row in run_rows(run, permitted=ANY) if row.arm == "cascade"]
    assert audited and {row.actor for row in audited} == {STUDENT}
    for row in audited:
        (pair,) = pairs(row)
        assert pair.rejected == row.completion and row.action == "look"
        teacher = row.votes[-1]
        assert teacher.actor == TEACHER and pair.chosen.content.endswith(f"Action: {teacher.action}")
    assert exported(run, tmp_path / "out", "trl-preference")


def test_trl_rows_carry_tool_arguments_as_objects(desk: Run, tmp_path: Path) -> None:
    rows = exported(desk, tmp_path / "out", "trl-sft")
    assert rows[0]["completion"][0]["tool_calls"][0]["function"]["arguments"] == {"order": "A0"}
    assert rows[0]["tools"] == TOOLS and all(m["content"] is not None for row in rows for m in row["prompt"])
    pairs = exported(desk, tmp_path / "pairs", "trl-preference")
    assert pairs[0]["rejected"][0]["tool_calls"][0]["function"] == {"name": "refund", "arguments": {"order": "A0"}}


# --- OpenTelemetry ----------------------------------------------------------------------------------------------------


def with_base64_ids(line: dict[str, Any]) -> dict[str, Any]:
    """OTLP/JSON writes ids in hex, where JSON of protocol buffers has base64: all else is the same."""
    for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return line


def test_otlp_json_is_parsed_by_opentelemetry_and_names_what_the_conventions_name(
    desk: Run, homes: Run, tmp_path: Path
) -> None:
    proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    names = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    json_format = pytest.importorskip("google.protobuf.json_format")
    known = {value for name, value in vars(names).items() if name.startswith("GEN_AI_")}
    for run in (desk, homes):
        for line in exported(run, tmp_path / run.name, "otel-json"):
            request = json_format.Parse(json.dumps(with_base64_ids(line)), proto.ExportTraceServiceRequest())
            scope = request.resource_spans[0].scope_spans[0]
            assert scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"
            spans = list(scope.spans)
            root, *rest = spans
            assert root.name.startswith("invoke_agent ") and not root.parent_span_id
            assert len({s.span_id for s in spans}) == len(spans) and len({s.trace_id for s in spans}) == 1
            assert {(len(s.trace_id), len(s.span_id)) for s in spans} == {(16, 8)}
            assert all(s.parent_span_id == root.span_id for s in rest)
            assert {s.name.split()[0] for s in rest} == {"chat", "execute_tool"}
            for span in spans:
                attributes = {a.key: a.value for a in span.attributes}
                assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
                assert attributes["gen_ai.operation.name"].string_value == span.name.split()[0]
                assert {key for key in attributes if key.startswith("gen_ai.")} <= known
            assert root.events[0].name == "gen_ai.evaluation.result"


def test_chat_spans_carry_messages_tokens_and_tool_results(desk: Run, tmp_path: Path) -> None:
    line = exported(desk, tmp_path / "out", "otel-json")[0]
    spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    told = [{a["key"]: next(iter(a["value"].values())) for a in span["attributes"]} for span in spans]
    chats = [t for t in told if t["gen_ai.operation.name"] == "chat"]
    # The first step asked the student for three samples and then the teacher.
    assert [c["gen_ai.provider.name"] for c in chats] == ["openai", "anthropic", "openai", "openai"]
    assert chats[0]["gen_ai.request.choice.count"] == "3" and chats[0]["atlas.acted"] is False
    assert len(json.loads(chats[0]["gen_ai.output.messages"])) == 3
    (reply,) = json.loads(chats[1]["gen_ai.output.messages"])
    assert reply["parts"][0]["type"] == "tool_call" and reply["parts"][0]["arguments"] == {"order": "A0"}
    asked = json.loads(chats[2]["gen_ai.input.messages"])
    assert asked[-1]["parts"][0] == {
        "type": "tool_call_response",
        "id": reply["parts"][0]["id"],
        "response": "look_up: ok A0",
    }
    tools = [t for t in told if t["gen_ai.operation.name"] == "execute_tool"]
    assert [(t["gen_ai.tool.name"], t["gen_ai.tool.call.result"]) for t in tools] == [
        ("look_up", "look_up: ok A0"),
        ("refund", "refund: ok A0"),
    ]


@pytest.mark.parametrize(
    ("said", "called", "told"),
    [
        ("tool_calls", True, "tool_call"),
        ("tool_use", True, "tool_call"),
        ("", True, "tool_call"),
        ("", False, "stop"),
        ("end_turn", False, "stop"),
        ("max_tokens", False, "length"),
        ("content_filter", False, "content_filter"),
        ("their own word", False, "their own word"),
    ],
)
def test_finish_reasons_are_spelt_as_the_schema_of_output_messages_does(
    said: str, called: bool, told: str, tmp_path: Path
) -> None:
    calls = (ToolCall(id="c", name="look_up"),) if called else ()
    steps_run(tmp_path / "run", [Prompt(stable="s")], finish=said, tool_calls=calls, text="t")
    (line,) = exported(Run(tmp_path / "run"), tmp_path / "out", "otel-json")
    chat = line["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
    attributes = {a["key"]: a["value"] for a in chat["attributes"]}
    (reply,) = json.loads(attributes["gen_ai.output.messages"]["stringValue"])
    assert reply["finish_reason"] == told
    reasons = attributes.get("gen_ai.response.finish_reasons", {"arrayValue": {"values": []}})["arrayValue"]["values"]
    assert reasons == ([{"stringValue": told}] if said else [])


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_parquet_is_a_table_with_a_row_per_step(tmp_path: Path) -> None:
    import pyarrow.parquet

    run = Run(write_run(tmp_path / "run"))
    manifest = export([run], tmp_path / "out", ExportPlan(format="parquet", holdout=0.3))
    tables = {name: pyarrow.parquet.read_table(tmp_path / "out" / name) for name in manifest.files}
    assert {name: table.num_rows for name, table in tables.items()} == {
        name: file.rows for name, file in manifest.files.items()
    }
    rows = [row for name in sorted(tables, reverse=True) for row in tables[name].to_pylist()]
    expected = {row.id: row for row in run_rows(run)}
    assert len(rows) == len(expected) == sum(r.steps for r in run.results())
    for row in rows:
        step = expected[row["id"]]
        for name in ("arm", "task", "actor", "model", "action", "index", "score", "success", "agreement", "dollars"):
            assert row[name] == getattr(step, name), name
        assert row["permitted_to_train"] == step.trainable and row["escalated"] == step.escalated
        assert json.loads(row["completion_json"])["content"] == step.completion.content


def test_unpriced_steps_have_no_dollars_in_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet

    from atlas.testing.runs import MadeUpArm

    run = Run(write_run(tmp_path / "run", {"student": MadeUpArm(2, 0.5, dollars=None)}))
    export([run], tmp_path / "out", ExportPlan(format="parquet", filters=Filters(arms=("student",))))
    assert set(pyarrow.parquet.read_table(tmp_path / "out" / "train.parquet")["dollars"].to_pylist()) == {None}
