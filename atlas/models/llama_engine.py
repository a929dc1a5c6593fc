"""A thin, synchronous face of xllamacpp: one model, one slot. The only module that knows xllamacpp."""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import DataError, MissingExtra, ModelError
from atlas.record import whole_characters, whole_texts


class Engine:
    """A GGUF model in this process. Calls must come one at a time.

    xllamacpp runs llama.cpp's server in process. Completions are called directly; tokenizing and chat templates are
    only to be had over the server's loopback port, which a random key closes to everybody else.

    The key-value cache of the last prompt stays in place, and those of earlier prompts in RAM (``cache_mib``), so that
    episodes that take turns each find their own prefix again.
    """

    def __init__(self, path: Path, *, context: int, threads: int | None, cache_mib: int) -> None:
        _check(path)
        # Spinning OpenMP threads starve a busy machine: decoding falls by a factor of ten. Read when libgomp is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        try:
            import xllamacpp
        except ImportError:
            raise MissingExtra("an embedded language model", "local") from None
        self._key = secrets.token_hex(16)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = 1
        params.cache_ram_mib = cache_mib
        # With flash attention the log-probabilities of a prompt change (by up to 0.4) when part of it is cached: what
        # an episode does would depend on what ran before it.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup = False
        params.ui = False
        params.verbosity = -1
        params.api_keys = [self._key]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or _cores()
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise DataError(f"{path} cannot be loaded as a GGUF model ({error}): fetch it again") from error
        self._address = self._server.listening_address.removeprefix("http://")

    def tokenize(self, text: str) -> list[int]:
        """Token ids; names of special tokens in ``text`` count as those tokens."""
        tokens: list[int] = self._post("/tokenize", {"content": whole_characters(text)})["tokens"]
        return tokens

    def template(self, turns: list[dict[str, str]]) -> str:
        """The chat as the model's own template writes it, up to where its answer begins."""
        text: str = self._post("/apply-template", {"messages": whole_texts(turns)})["prompt"]
        return text

    def complete(self, prompt: Sequence[int], **options: Any) -> dict[str, Any]:
        """One completion of llama.cpp's server, as it returns it."""
        answer: dict[str, Any] = self._server.handle_completions(
            {"prompt": list(prompt), "cache_prompt": True, **options}
        )
        if error := answer.get("error"):
            raise ModelError(f"the embedded model could not answer: {error.get('message', error)}")
        return answer

    def _post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        # Not urllib: it would send this to the proxy of the environment.
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            headers = {"content-type": "application/json", "authorization": f"Bearer {self._key}"}
            connection.request("POST", route, json.dumps(body), headers)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ModelError(f"the embedded model could not read the prompt: {answer.get('error', answer)}")
        return answer


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give the path of a GGUF file") from error
    if magic != b"GGUF":
        raise DataError(f"{path} is not a GGUF file: give the path of one, or fetch it again")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
