"""What a caller names by its address is fetched by nobody here: it goes up, or is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import atlas
from atlas.models.retry import Retry
from tests.providers_upstream import Both

pytest.importorskip("litellm", reason="needs the extra litellm")

from atlas.models.hosted import Hosted
from atlas.models.parts import addresses

PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """litellm refuses private addresses of its own accord, from some version on: that is not what is tested."""
    import litellm

    monkeypatch.setattr(litellm, "user_url_validation", False, raising=False)
    for name, value in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION_NAME", "us-east-1")):
        monkeypatch.setenv(name, value)
    made = Both()
    yield made
    made.close()


def asked(both: Both, name: str, part: dict[str, Any], *, door: str = "chat", stream: bool = False) -> str:
    """What is said to a client that sends ``part``: nothing, or why it is refused."""
    url = f"{both.root}/v1" if name.startswith(("openai/", "hosted_vllm/", "groq/")) else both.root
    extra = {"api_version": "2025-01-01"} if name.startswith("azure/") else {}
    student = Hosted(name, base_url=url, api_key="k", retry=Retry(retries=0), extra=extra)
    turn: Any = [{"role": "user", "content": [part]}]
    with atlas.Agent(student) as agent, agent.episode(goal="g") as episode:
        try:
            if door == "chat":
                told: Any = episode.client.chat.completions.create(model="m", messages=turn, stream=stream)
            elif door == "responses":
                told = episode.client.responses.create(model="m", input=turn, stream=stream)
            else:
                told = episode.anthropic.messages.create(model="m", max_tokens=9, messages=turn)
            if stream:
                list(told)
        except Exception as error:
            assert type(error).__name__ == "BadRequestError", error
            return str(error)
    return ""


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def image_text(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


def file(url: str) -> dict[str, Any]:
    return {"type": "file", "file": {"file_id": url}}


def file_data(url: str) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": url, "filename": "a.pdf"}}


def document(url: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "url", "url": url}}


FETCHING = [
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-flash",
    "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "ollama/llava",
    "snowflake/claude-4-sonnet",
]


@pytest.mark.parametrize("name", FETCHING)
@pytest.mark.parametrize("part", [image, image_text, file, file_data, document])
def test_what_litellm_would_fetch_is_refused(both: Both, name: str, part: Callable[[str], dict[str, Any]]) -> None:
    said = asked(both, name, part(f"{both.root}/inner.png"))
    kind = part("")["type"]
    assert both.got == [] and both.sent == []
    assert said and (f"no {kind} by its address" in said or f"no {kind} part" in said)


@pytest.mark.parametrize(
    "name", ["openai/gpt-4.1", "openai/own", "hosted_vllm/own", "groq/llama-4", "azure/gpt-4.1", "openrouter/x/y"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_images_address_goes_up_where_the_provider_takes_it(both: Both, name: str, stream: bool) -> None:
    address = f"{both.root}/picture.png"
    assert asked(both, name, image(address), stream=stream) == ""
    assert both.got == [], "not even to see how large it is"
    assert address in both.sent[0] and '"high"' in both.sent[0]
    assert "takes no file by its address" in asked(both, name, file(f"{both.root}/a.pdf"), stream=stream)
    assert both.got == [] and len(both.sent) == 1


def test_claude_is_told_https_addresses_and_gemini_those_of_its_own_files(both: Both) -> None:
    claude = "anthropic/claude-sonnet-4-5"
    for part in (image("https://a.test/a.png"), file("https://a.test/a.pdf"), document("https://a.test/a.pdf")):
        assert asked(both, claude, part) == "" and '"type":"url"' in both.sent[-1].replace(" ", "")
    kept = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    own = {"type": "file", "file": {"file_id": kept, "format": "application/pdf"}}
    assert asked(both, "gemini/gemini-2.5-flash", own) == "" and kept in both.sent[-1]
    assert "by its address" in asked(both, "gemini/gemini-2.5-flash", image("gs://bucket/a.png"))


def test_what_is_sent_itself_goes_up_everywhere(both: Both) -> None:
    for name in FETCHING[:4]:
        both.sent.clear()
        assert asked(both, name, image(PNG)) == "" and any("iVBORw0KGgo" in sent for sent in both.sent)


@pytest.mark.parametrize("door", ["responses", "messages"])
def test_the_other_apis_name_nothing_either(both: Both, door: str) -> None:
    if door == "messages":
        pytest.importorskip("anthropic")
        shown = {"type": "image", "source": {"type": "url", "url": f"{both.root}/inner.png"}}
        written = document(f"{both.root}/inner.pdf")
    else:
        shown = {"type": "input_image", "image_url": f"{both.root}/inner.png"}
        written = {"type": "input_file", "file_url": f"{both.root}/inner.pdf"}
    for name in ("gemini/gemini-2.5-flash", "anthropic/claude-sonnet-4-5"):
        assert "no image_url by its address" in asked(both, name, shown, door=door)
        assert "no file by its address" in asked(both, name, written, door=door)
    assert both.sent == []
    # OpenAI's own Responses API has a field for each.
    assert (
        asked(both, "openai/gpt-5-pro", shown, door=door) == asked(both, "openai/gpt-5-pro", written, door=door) == ""
    )
    assert '"image_url":' in both.sent[0] and '"file_url":' in both.sent[1] and both.got == []


def test_what_litellm_would_lose_is_refused(both: Both) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert "no image_url part" in asked(both, "deepseek/deepseek-chat", image(PNG))
    assert "no input_audio part" in asked(both, "anthropic/claude-sonnet-4-5", sound)
    assert both.sent == []


def test_words_name_nothing() -> None:
    assert addresses({"type": "text", "text": "see http://a"}) == []
    words = {"type": "text", "media_type": "text/plain", "data": "http://a"}
    assert addresses({"type": "document", "title": "http://a", "source": words}) == []
    deep = {"type": "x", "more": [{"url": "//a"}, {"uri": "gs://b"}, {"y": {"file_url": "www.c"}}]}
    assert addresses(deep) == ["//a", "gs://b", "www.c"]
