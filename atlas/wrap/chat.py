"""Between the chat-completions API and our records."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from atlas.actions import Actions
from atlas.errors import ConfigError, MissingExtra
from atlas.records import Decision, Message, Reply, Spend, Task, ToolCall, Turn, View, total

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

_PASSED_ON = (
    "tool_choice parallel_tool_calls response_format stop top_p frequency_penalty presence_penalty logit_bias "
    "reasoning_effort verbosity user metadata store service_tier prompt_cache_key prompt_cache_retention "
    "safety_identifier timeout extra_headers extra_query extra_body"
)
PASSED_ON = frozenset(_PASSED_ON.split())
"""Call options that reach the models as they are."""

SET_ASIDE = frozenset({"model", "temperature", "seed", "n", "stream", "stream_options"})
"""Call options that the policy decides: its models, how they are sampled, and how often."""

_ANY = View(task=Task(id="", goal=""), opening="")
"""Past messages are read without their context: the tools they called may be offered no more."""


# --- in ---------------------------------------------------------------------------------------------------------------


def read_messages(given: Iterable[Any]) -> tuple[Message, ...]:
    """The caller's messages: dictionaries, or the message objects that earlier completions returned.

    Text only: a message with an image or sound raises ConfigError.
    """
    return tuple(_message(_plain(message)) for message in given)


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options to pass on. Raises ConfigError for what the wrapped client cannot honour."""
    options = {name: value for name, value in given.items() if value is not None and not _absent(value)}
    if options.get("stream"):
        raise ConfigError("streaming is not supported yet: call create() without stream=True")
    if options.get("n", 1) != 1:
        raise ConfigError(f"create() returns one choice, not n={options['n']}: the cascade draws samples of its own")
    limit = options.pop("max_completion_tokens", options.pop("max_tokens", None))
    unknown = sorted(options.keys() - PASSED_ON - SET_ASIDE)
    if unknown:
        raise ConfigError(f"create() was given {', '.join(unknown)}, which atlas cannot pass on: leave it out")
    passed = {name: value for name, value in options.items() if name in PASSED_ON}
    return passed if limit is None else {**passed, "max_tokens": limit}


def read_tools(given: Any) -> tuple[dict[str, Any], ...]:
    """The tool schemas, or none."""
    return () if given is None or _absent(given) else tuple(_plain(tool) for tool in given)


def opening_of(messages: Sequence[Message]) -> str:
    """What the agent was shown before it first spoke."""
    first = next((i for i, m in enumerate(messages) if m.role == "assistant"), len(messages))
    return _seen(messages[:first])


def turns_of(messages: Sequence[Message], actions: Actions) -> tuple[Turn, ...]:
    """The past steps: each assistant message, and what was shown after it (tool results, the user's words)."""
    spoke = [i for i, m in enumerate(messages) if m.role == "assistant"]
    turns = []
    for here, following in pairwise([*spoke, len(messages)]):
        action, thought = action_of(messages[here], actions)
        turns.append(Turn(action=action, observation=_seen(messages[here + 1 : following]), thought=thought))
    return tuple(turns)


def after_last_turn(messages: Sequence[Message]) -> tuple[Message | None, str]:
    """The agent's last message (None where it has not spoken), and what was shown after it."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i].role == "assistant":
            return messages[i], _seen(messages[i + 1 :])
    return None, ""


def action_of(message: Message, actions: Actions) -> tuple[str, str]:
    """(action, thought) of an assistant message."""
    parsed = actions.parse(Reply(text=message.content, tool_calls=message.tool_calls), _ANY)
    return parsed.action or "", parsed.thought


def _seen(messages: Iterable[Message]) -> str:
    return "\n".join(m.content for m in messages if m.role != "system" and m.content)


def _message(given: Mapping[str, Any]) -> Message:
    role = str(given.get("role", ""))
    if role == "developer":
        role = "system"
    if role not in ("system", "user", "assistant", "tool"):
        raise ConfigError(f"a message has the role {role!r}: use system, user, assistant or tool")
    calls = tuple(_tool_call(_plain(call)) for call in given.get("tool_calls") or ())
    return Message(role=role, content=_text(given), tool_calls=calls, tool_call_id=given.get("tool_call_id"))


def _tool_call(given: Mapping[str, Any]) -> ToolCall:
    if "function" not in given:
        raise ConfigError(f"a tool call of type {given.get('type')!r} is not supported: use function tools")
    function = _plain(given["function"])
    return ToolCall(id=given.get("id") or "", name=function["name"], arguments=function.get("arguments") or "{}")


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or message.get("refusal") or ""
    parts = [_plain(part) for part in content]
    other = [str(part.get("type")) for part in parts if part.get("type") not in ("text", "refusal")]
    if other:
        raise ConfigError(f"a message holds {other[0]!r} content: atlas passes on text only")
    return "\n".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _plain(given: Any) -> dict[str, Any]:
    """A dictionary, from one or from a pydantic object of the client library."""
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "model_dump"):
        plain: dict[str, Any] = given.model_dump(exclude_none=True)
        return plain
    raise ConfigError(f"create() was given a {type(given).__name__} where chat APIs take a dictionary: {given!r:.80}")


def _absent(value: Any) -> bool:
    """Whether it is the client library's mark for "not given"; named, so that the library need not be loaded."""
    return type(value).__name__ in ("NotGiven", "Omit")


# --- out --------------------------------------------------------------------------------------------------------------


def with_ids(decided: Decision, messages: Iterable[Message]) -> Decision:
    """``decided`` with an id for each tool call that is new to the conversation; the provider's own where it is."""
    used = {call.id for message in messages for call in message.tool_calls}
    calls = []
    for call in decided.tool_calls:
        fresh = call if call.id and call.id not in used else call.model_copy(update={"id": f"call_{uuid.uuid4().hex}"})
        used.add(fresh.id)
        calls.append(fresh)
    return decided.model_copy(update={"tool_calls": tuple(calls)})


def completion_of(decided: Decision, spend: Sequence[Spend]) -> ChatCompletion:
    """``decided`` as the chat-completions API writes it; its usage is that of all models asked in this step."""
    completion = completion_type()
    usage = total(spend)
    message: dict[str, Any] = {"role": "assistant", "content": decided.text or (None if decided.tool_calls else "")}
    if decided.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in decided.tool_calls
        ]
    return completion.model_validate(
        {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": next((s.model for s in spend if s.actor == decided.actor), decided.actor),
            "choices": [{"index": 0, "message": message, "finish_reason": _finish(decided)}],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.tokens,
                "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            },
        }
    )


def completion_type() -> type[ChatCompletion]:
    """The client library's own class: agents written for it find all its methods."""
    try:
        from openai.types.chat import ChatCompletion
    except ImportError:
        raise MissingExtra("an OpenAI-compatible client", "litellm") from None
    return ChatCompletion


def _finish(decided: Decision) -> str:
    if decided.finish in ("length", "content_filter"):
        return decided.finish
    return "tool_calls" if decided.tool_calls else "stop"
