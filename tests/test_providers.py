"""What each provider takes: fake servers that refuse what the real ones refuse, and what goes up instead."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import openai
import pytest

import atlas
from atlas.errors import ModelError
from atlas.records import Ask, Message, Price, Prompt, Task, ToolCall, View
from atlas.testing.server import ChatServer, Say, Status

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models.hosted import Hosted
from atlas.models.request import call_id, request_of
from atlas.models.retry import Retry
from atlas.models.rules import RULES, rules_of

ONCE = Retry(retries=0)
FUNCTION: dict[str, Any] = {"name": "look", "parameters": {"type": "object", "properties": {}}}
TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}
LONG = "call_AbCdEfGhIjKlMnOpQrStUvWx"
Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


class Server:
    """A function from (path, body) to (status, JSON) behind HTTP; what was asked is in ``bodies``."""

    def __init__(self, answer: Answer) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.bodies.append(body)
                outer.paths.append(self.path)
                code, told = answer(self.path, body)
                data = json.dumps(told).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._http.server_port}"
        self.url = f"{self.root}/v1"

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()


def chat(text: str | None = "done", *, usage: Any = None, message: Any = None, **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, **(message or {})}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": usage or {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        **fields,
    }


def claude(*blocks: dict[str, Any], usage: Any = None, stop: str = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(blocks) or [{"type": "text", "text": "done"}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage or {"input_tokens": 100, "output_tokens": 10},
    }


def ask(*history: Message, n: int = 1, max_tokens: int = 256, prompt: Prompt | None = None, **view: Any) -> Ask:
    said = history or (Message(role="user", content="hi"),)
    shown = View(task=Task(id="t", goal="g"), opening="o", **view)
    asked = prompt or Prompt(stable="Act.", history=said)
    return Ask(view=shown, prompt=asked, n=n, max_tokens=max_tokens, temperature=0.1)


def called(**sent: Any) -> tuple[Message, ...]:
    """A tool was called and has answered; ``sent`` is what the caller's message holds beyond the call."""
    call = {"id": LONG, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    whole = {"role": "assistant", "content": None, "tool_calls": [call], **sent} if sent else None
    return (
        Message(role="user", content="find a"),
        Message(role="assistant", tool_calls=(ToolCall(id=LONG, name="look"),), sent=whole),
        Message(role="tool", content="result", tool_call_id=LONG),
    )


# --- turns and ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mistral/mistral-small-latest", "openai/org/Mistral-7B-Instruct"])
async def test_mistral_gets_short_ids_and_no_user_turn_behind_a_result(name: str) -> None:
    """Errors 3280 and 3230 of api.mistral.ai."""

    def mistral(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        before = ""
        for message in body["messages"]:
            if before == "tool" and message["role"] == "user":
                return 400, {"message": "Unexpected role 'user' after role 'tool'", "code": "3230"}
            for call in message.get("tool_calls") or ():
                if not re.fullmatch("[a-zA-Z0-9]{9}", call["id"]):
                    return 400, {"message": f"Tool call id was {call['id']}", "code": "3280"}
            before = message["role"]
        return 200, chat()

    prompt = Prompt(stable="Act.", history=called(reasoning_content="of another model"), retrieved="[example 1] x")
    with Server(mistral) as server:
        done = await Hosted(name, base_url=server.url, api_key="k", retry=ONCE).sample(ask(prompt=prompt))
    _, _, asked, result = server.bodies[0]["messages"]
    assert done.replies[0].text == "done"
    assert asked["tool_calls"][0]["id"] == result["tool_call_id"] == call_id(LONG, "[a-zA-Z0-9]{9}")
    assert result["content"] == "result\n\n[example 1] x", "what is recalled is told with the result"


def test_an_id_that_is_taken_stays_and_one_that_is_not_is_always_written_alike() -> None:
    assert call_id("abcdefgh9", "[a-zA-Z0-9]{9}") == "abcdefgh9"
    ids = {call_id(f"call_{i}", "[a-zA-Z0-9]{9}") for i in range(10_000)}
    assert len(ids) == 10_000 and all(re.fullmatch("[a-zA-Z0-9]{9}", one) for one in ids)
    assert call_id("\ud800", "[a-zA-Z0-9]{9}"), "whatever a server calls its calls"


async def test_openai_gets_no_thoughts_of_other_providers_and_no_long_ids() -> None:
    long = "x" * 80
    call = {"id": long, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    sent: dict[str, Any] = {
        "role": "assistant",
        "content": "",
        "tool_calls": [call],
        "thinking_blocks": [{}],
        "refusal": None,
    }
    past = (
        Message(role="user", content="hi"),
        Message(role="assistant", tool_calls=(ToolCall(id=long, name="look"),), sent=sent),
        Message(role="tool", content="result", tool_call_id=long),
    )
    with ChatServer(Say()) as server:
        await Hosted("openai/gpt-4.1", base_url=server.url, api_key="k").sample(ask(*past))
        await Hosted("openai/own-model", base_url=server.url, api_key="k").sample(ask(*past))
    assert "thinking_blocks" not in server.requests[0]["messages"][2]
    assert len(server.requests[0]["messages"][3]["tool_call_id"]) == 9
    assert server.requests[1]["messages"][2] == sent, "a server of one's own gets what the caller sent"


# --- what was thought -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deepseek/deepseek-reasoner", "moonshot/kimi-k2-thinking", "openai/kimi-k2-thinking"])
async def test_reasoning_comes_down_whole_and_goes_back(name: str) -> None:
    cited = {"start_index": 0, "end_index": 1, "title": "t", "url": "u"}
    notes = [{"type": "url_citation", "url_citation": cited}]
    message = {"reasoning_content": "thought", "annotations": notes, "refusal": None}
    with Server(lambda path, body: (200, chat(message=message))) as server:
        hosted = Hosted(name, base_url=server.url, api_key="k", retry=ONCE)
        (reply,) = (await hosted.sample(ask())).replies
        assert reply.message is not None and reply.message["reasoning_content"] == "thought"
        assert reply.message["annotations"] == notes and "refusal" not in reply.message
        await hosted.sample(ask(*called(**reply.message)))
    assert server.bodies[1]["messages"][2]["reasoning_content"] == "thought"


async def test_a_plain_answer_is_kept_once() -> None:
    with ChatServer(Say("Action: look", tool_calls=[("look", "{}")])) as server:
        (reply,) = (await Hosted("openai/x", base_url=server.url, api_key="k").sample(ask())).replies
    assert reply.message is None


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def thinking_claude(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Refuses what Anthropic's API refuses of temperature, limits and turns."""

    def no(message: str) -> tuple[int, dict[str, Any]]:
        return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}

    thinks = (body.get("thinking") or {}).get("type") == "enabled"
    if "temperature" in body and "top_p" in body:
        return no("`temperature` and `top_p` cannot both be specified for this model.")
    if thinks and body["thinking"]["budget_tokens"] >= body["max_tokens"]:
        return no("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if thinks and body.get("temperature", 1) != 1:
        return no("`temperature` may only be set to 1 when thinking is enabled.")
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        if thinks and any(block["type"] == "tool_use" for block in blocks) and blocks[0]["type"] != "thinking":
            return no("Expected `thinking`, but found `tool_use`")
    return 200, claude(THOUGHT, USE, stop="tool_use") if thinks else claude()


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0.9},
        {"reasoning_effort": "low"},
        {"reasoning_effort": "high", "max_tokens": 300},
        {"reasoning_effort": "low", "max_tokens": 8000},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    ],
)
async def test_claude_takes_what_it_is_asked(options: dict[str, Any]) -> None:
    limit = options.get("max_tokens", 256)
    with Server(thinking_claude) as server:
        hosted = Hosted("anthropic/claude-sonnet-4-5", base_url=server.root, api_key="k", retry=ONCE)
        await hosted.sample(ask(options=options, max_tokens=limit))
    body = server.bodies[0]
    assert ("temperature" in body) is False
    budget = (body.get("thinking") or {}).get("budget_tokens", 0)
    assert body["max_tokens"] in (limit, limit + budget), "room for the reply stays what it was"


async def test_claude_goes_on_from_its_own_thinking_and_does_not_think_behind_another_models_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(thinking_claude) as server:
        hosted = Hosted(
            "anthropic/claude-sonnet-4-5",
            base_url=server.root,
            api_key="k",
            retry=ONCE,
            extra={"thinking": {"type": "enabled", "budget_tokens": 2000}},
        )
        (reply,) = (await hosted.sample(ask(tools=(TOOL,)))).replies
        assert reply.message is not None and reply.message["thinking_blocks"] == [THOUGHT]
        await hosted.sample(ask(*called(**reply.message), tools=(TOOL,)))
        assert not caplog.records
        await hosted.sample(ask(*called(), tools=(TOOL,)))
    own, other = server.bodies[1], server.bodies[2]
    assert own["messages"][1]["content"][0] == THOUGHT and own["thinking"]["type"] == "enabled"
    assert "thinking" not in other and "does not think in this turn" in caplog.text


# --- settings ---------------------------------------------------------------------------------------------------------


async def test_stop_is_kept_to_here_where_a_model_takes_none() -> None:
    def reasons(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        refused = {"stop", "temperature", "max_tokens"} & body.keys()
        if refused:
            return 400, {"error": {"message": f"Unsupported parameter: '{refused.pop()}' is not supported."}}
        return 200, chat("Action: look\nObservation: made up", message={"reasoning_content": "hm"})

    for name in ("openai/o4-mini", "openai/gpt-5"):
        with Server(reasons) as server:
            hosted = Hosted(name, base_url=server.url, api_key="k", retry=ONCE)
            (reply,) = (await hosted.sample(ask(options={"stop": ["Observation:", "\nEND"]}))).replies
        assert (reply.text, reply.finish) == ("Action: look\n", "stop")
        assert reply.message == {"role": "assistant", "content": "Action: look\n", "reasoning_content": "hm"}
        assert server.bodies[0]["max_completion_tokens"] == 256 and len(server.bodies) == 1


async def test_what_an_unknown_server_refuses_of_ours_is_left_out_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def strict(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for name in ("temperature", "seed", "store", "stop"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'", "param": name}}
        if "max_tokens" in body:
            told = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": told}}
        if body["top_p"] != 1:
            return 400, {"error": {"message": "Unsupported value: 'top_p'", "param": "top_p"}}
        return 200, chat("a STOP b")

    with Server(strict) as server:
        hosted = Hosted("openai/own", base_url=server.url, api_key="k", retry=ONCE)
        given: dict[str, Any] = {"stop": "STOP", "store": True, "top_p": 1}
        done = await hosted.sample(ask(options=given))
        assert (done.replies[0].text, done.usage.calls, len(server.bodies)) == ("a ", 1, 6)
        await hosted.sample(ask(options=given))
        assert len(server.bodies) == 7, "it is remembered"
        assert server.bodies[-1]["max_completion_tokens"] == 256
        assert "does not take store: it is left out" in caplog.text
        with pytest.raises(ModelError, match="Unsupported value: 'top_p'"):
            await hosted.sample(ask(options={**given, "top_p": 0.5}))


async def test_what_litellm_would_drop_is_told() -> None:
    with Server(lambda path, body: (200, claude())) as server:
        hosted = Hosted("anthropic/claude-haiku-4-5", base_url=server.root, api_key="k", retry=ONCE)
        with pytest.raises(ModelError, match="takes no frequency_penalty, logit_bias: leave it out"):
            await hosted.sample(ask(options={"logit_bias": {"1": 2}, "frequency_penalty": 0.5, "store": True}))
        assert not server.bodies
        await hosted.sample(ask(options={"store": True, "user": "u"}))
    assert server.bodies[0]["metadata"] == {"user_id": "u"}


async def test_a_reply_is_as_long_as_the_model_allows_where_it_has_to_be_told() -> None:
    with Server(lambda path, body: (200, claude())) as server:
        hosted = Hosted("anthropic/claude-haiku-4-5", base_url=server.root, api_key="k", retry=ONCE)
        await hosted.sample(ask(options={"max_tokens": None}))
    assert server.bodies[0]["max_tokens"] == 64_000


@pytest.mark.parametrize(
    ("name", "calls"), [("gemini/gemini-3-flash-preview", 3), ("groq/llama-3.3-70b", 3), ("openai/own", 4)]
)
async def test_several_samples_come_one_by_one_where_n_is_refused(name: str, calls: int) -> None:
    def one(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        config = body.get("generationConfig")
        if body.get("n", 1) > 1 or (config or {}).get("candidateCount", 1) > 1:
            return 400, {"error": {"message": "'n' : number must be at most 1", "code": 400}}
        if config is None:
            return 200, chat(service_tier="on_demand")
        content = {"role": "model", "parts": [{"text": "done"}]}
        used = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
        return 200, {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": used}

    with Server(one) as server:
        base = server.root if name.startswith("gemini") else server.url
        hosted = Hosted(name, base_url=base, api_key="k", retry=ONCE)
        done = await hosted.sample(ask(n=3))
        assert len(done.replies) == 3 and done.usage.calls == 3 and len(server.bodies) == calls
        assert hosted.shares_prompt == name.startswith("openai"), "what is known before is drawn one by one"


# --- the Responses API ------------------------------------------------------------------------------------------------


async def test_models_of_the_responses_api_alone_work_in_a_tool_loop() -> None:
    reasoning: dict[str, Any] = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": "blob",
        "status": None,
    }
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}"}
    text = {"type": "output_text", "text": "done", "annotations": []}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": [text]}
    used = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 30,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 130,
    }

    def pro(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if not path.endswith("/responses"):
            return 404, {"error": {"message": "This is not a chat model"}}
        went = any(item.get("type") == "function_call_output" for item in body["input"])
        output = [said] if went else [reasoning, call]
        return 200, {"id": "resp_1", "status": "completed", "output": output, "usage": used, "service_tier": "flex"}

    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    sent = {"role": "user", "content": [{"type": "text", "text": "see"}, image]}
    user = Message(role="user", content="see", sent=sent)
    options = {"tool_choice": "required", "reasoning_effort": "high", "response_format": {"type": "json_object"}}
    price = Price(prompt=1, completion=10, cached=0.5, tiers={"flex": Price(prompt=0.5, completion=5, cached=0.25)})
    with Server(pro) as server:
        hosted = Hosted("openai/gpt-5-pro", base_url=server.url, api_key="k", retry=ONCE, price=price)
        done = await hosted.sample(ask(user, tools=(TOOL,), options=options))
        (reply,) = done.replies
        assert reply.tool_calls == (ToolCall(id="call_1", name="look"),) and reply.finish == "tool_calls"
        assert (done.usage.reasoning_tokens, done.usage.cached_tokens) == (20, 40)
        assert done.usage.dollars == pytest.approx((60 * 0.5 + 40 * 0.25 + 30 * 5) / 1e6)
        back = Message(role="assistant", tool_calls=reply.tool_calls, sent=reply.message)
        result = Message(role="tool", content="a desk", tool_call_id="call_1")
        (last,) = (await hosted.sample(ask(user, back, result, tools=(TOOL,)))).replies
    assert last.text == "done" and last.finish == "stop"
    first, second = server.bodies
    assert first["input"][1]["content"] == [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"},
    ]
    assert first["tools"] == [{"type": "function", **FUNCTION}] and first["tool_choice"] == "required"
    assert first["reasoning"] == {"effort": "high"} and first["text"] == {"format": {"type": "json_object"}}
    assert first["store"] is False and "temperature" not in first and first["max_output_tokens"] == 256
    assert [item["type"] for item in second["input"]] == [
        "message",
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    assert second["input"][2]["encrypted_content"] == "blob" and "status" not in second["input"][2]


async def test_what_the_responses_api_has_no_word_for_is_told() -> None:
    with Server(lambda path, body: (500, {})) as server:
        hosted = Hosted("openai/gpt-5.1-codex", base_url=server.url, api_key="k", retry=ONCE)
        with pytest.raises(ModelError, match="which has no logit_bias: leave it out"):
            await hosted.sample(ask(options={"logit_bias": {}}))
    assert not server.bodies


async def test_a_reply_that_was_cut_says_so() -> None:
    cut = {
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Act"}]}],
        "incomplete_details": {"reason": "max_output_tokens"},
    }
    with Server(lambda path, body: (200, cut)) as server:
        hosted = Hosted("openai/o1-pro", base_url=server.url, api_key="k", retry=ONCE)
        assert (await hosted.sample(ask())).replies[0].finish == "length"


# --- dollars ----------------------------------------------------------------------------------------------------------


async def test_claude_is_charged_for_what_it_writes_to_its_cache() -> None:
    used = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 10_000,
        "cache_read_input_tokens": 2_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 4_000, "ephemeral_1h_input_tokens": 6_000},
        "output_tokens": 50,
    }
    with Server(lambda path, body: (200, claude(usage=used))) as server:
        usage = (await Hosted("anthropic/claude-sonnet-4-5", base_url=server.root, api_key="k").sample(ask())).usage
    paid = (3 * 3 + 4_000 * 3.75 + 6_000 * 6 + 2_000 * 0.3 + 50 * 15) / 1e6
    assert usage.dollars == pytest.approx(paid)
    assert (usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens) == (12_003, 2_000, 10_000)
    assert usage.saved == pytest.approx((12_003 * 3 + 50 * 15) / 1e6 - paid), "below 0: more was written than read"


async def test_what_only_the_total_tells_is_reasoning_and_paid() -> None:
    used = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 2015}
    with Server(lambda path, body: (200, chat(usage=used))) as server:
        usage = (await Hosted("openai/gemini-2.5-flash", base_url=server.url, api_key="k").sample(ask())).usage
    assert (usage.completion_tokens, usage.reasoning_tokens) == (2005, 2000)
    assert usage.dollars == pytest.approx((10 * 0.3 + 2005 * 2.5) / 1e6)


@pytest.mark.parametrize(
    ("tier", "prompt", "completion"), [("flex", 0.625, 5), ("priority", 2.5, 20), (None, 1.25, 10)]
)
async def test_the_tier_is_the_one_that_the_answer_names(tier: str | None, prompt: float, completion: float) -> None:
    with Server(lambda path, body: (200, chat(service_tier=tier))) as server:
        usage = (await Hosted("openai/gpt-5", base_url=server.url, api_key="k").sample(ask())).usage
    assert usage.dollars == pytest.approx((100 * prompt + 10 * completion) / 1e6)


# --- marks for Anthropic's cache --------------------------------------------------------------------------------------


def marks(body: dict[str, Any]) -> list[str]:
    """What is marked, by its text."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "cache_control" in value:
                found.append(str(value.get("text") or value.get("content")))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(body)
    return found


async def test_the_stable_part_and_the_history_are_marked_where_the_caller_marks_nothing() -> None:
    recalled = Prompt(stable="Act.", history=(Message(role="user", content="seen"),), retrieved="[example 1] x")
    loop = Prompt(stable="Act.", history=called(), retrieved="[example 1] x")
    own = {"role": "user", "content": [{"type": "text", "text": "mine", "cache_control": {"type": "ephemeral"}}]}
    mine = Prompt(stable="Act.", history=(Message(role="user", content="mine", sent=own),))
    with Server(lambda path, body: (200, claude())) as server:
        hosted = Hosted("anthropic/claude-haiku-4-5", base_url=server.root, api_key="k", retry=ONCE)
        await hosted.sample(ask(prompt=recalled))
        await hosted.sample(ask(prompt=loop, tools=(TOOL,)))
        await hosted.sample(ask(prompt=mine))
        await hosted.sample(ask(prompt=recalled).replace(purpose="review"))
    assert [marks(body) for body in server.bodies] == [["seen", "Act."], ["result", "Act."], ["mine"], []]
    assert server.bodies[0]["messages"][0]["content"][1]["text"] == "[example 1] x", "what changes is behind the mark"


async def test_a_budget_counts_a_prompt_that_may_have_been_written_as_written(caplog: pytest.LogCaptureFixture) -> None:
    untold = {"input_tokens": 0, "output_tokens": 0}
    price = Price(prompt=1_000.0, completion=0.0, cache_write=1_250.0)
    with Server(lambda path, body: (200, claude(usage=untold))) as server:
        hosted = Hosted("anthropic/claude-haiku-4-5", base_url=server.root, api_key="k", retry=ONCE, price=price)
        marked = (await hosted.sample(ask())).usage.most
        bare = (await hosted.sample(ask().replace(purpose="review"))).usage.most
    assert marked is not None and bare is not None and marked == pytest.approx(bare * 1.25)


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_rule_says_what_it_is_known_from_and_changes_something() -> None:
    assert all(rule.what and rule.changes for rule in RULES)


@pytest.mark.parametrize(
    ("name", "responses"),
    [
        ("gpt-5-pro", True),
        ("gpt-5-pro-2025-10-06", True),
        ("gpt-5.1-codex-max", True),
        ("o1-pro", True),
        ("codex-mini-latest", True),
        ("gpt-5", False),
        ("gpt-5-mini", False),
        ("o3", False),
        ("my-gpt-5-pro-like", False),
    ],
)
def test_which_models_have_the_responses_api_alone(name: str, responses: bool) -> None:
    assert rules_of("openai", name).responses is responses


def test_a_model_is_known_behind_vendors_and_regions() -> None:
    assert rules_of("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0").thinking == "budget"
    assert rules_of("openrouter", "anthropic/claude-opus-4-6").thinking == "adaptive"
    assert rules_of("anthropic", "claude-3-7-sonnet-latest").thinking == "budget"
    assert rules_of("openrouter", "google/gemini-3-pro-preview").several is False
    assert rules_of("azure", "gpt-5-chat").limit == "max_tokens"


async def test_an_error_of_openais_client_is_told_in_the_servers_words() -> None:
    with ChatServer(Status(400, message="prompt too long")) as server, pytest.raises(ModelError) as failed:
        await Hosted("openai/x", base_url=server.url, api_key="k", retry=ONCE).sample(ask())
    assert "answered 400 (prompt too long): " in str(failed.value)


@pytest.mark.parametrize("name", ["anthropic/claude-sonnet-4-5", "deepseek/deepseek-chat"])
def test_no_field_of_a_caller_is_a_setting_of_a_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-secret")
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with ChatServer(Say("stolen")) as theirs, atlas.Agent(Hosted(name, retry=ONCE)).episode(goal="g") as episode:
        client = episode.client.with_options(max_retries=0)
        for given in ({"api_base": theirs.url}, {"base_url": theirs.url}, {"mock_response": "free"}):
            with pytest.raises(openai.OpenAIError):
                client.chat.completions.create(**asked, extra_body=given)
        assert theirs.keys == [], "no key goes where a caller says"
        for own in ({"extra_headers": {"authorization": "x"}}, {"extra_body": {"model": "dear"}}, {"timeout": 1e9}):
            with pytest.raises(openai.BadRequestError, match="no field of the API"):
                client.post("/chat/completions", body={**asked, **own}, cast_to=object)


def test_fields_that_nobody_knows_go_up_as_they_came() -> None:
    view = View(task=Task(id="t", goal="g"), opening="", options={"min_p": 0.1, "api_base": "http://a"})
    given, rules = Ask(view=view, prompt=Prompt(stable="s")), rules_of("hosted_vllm", "own")
    body = request_of(given, rules).body
    assert body["extra_body"] == {"min_p": 0.1, "api_base": "http://a"} and not {"min_p", "api_base"} & body.keys()
    own = request_of(given, rules, extra={"api_base": "http://b", "extra_body": {"min_p": 1}}).body
    assert own["api_base"] == "http://b" and own["extra_body"]["min_p"] == 1, "the model's own go before"
