"""Making a prompt fit a context window, by leaving out what matters least."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from atlas.assets import say
from atlas.errors import ModelError
from atlas.records import BARE, TRANSCRIPT, Form, Prompt

_BLOCK = 8
"""Messages. History is cut in blocks, so that the cut, and with it the cached prefix, stays put for several steps."""


def fit(
    prompt: Prompt, count: Callable[[Prompt], int], limit: int, model: str, *, form: Form = BARE, told: bool = False
) -> Prompt:
    """``prompt``, written in ``form``, with at most ``limit`` tokens as ``count`` counts them.

    Leaves out retrieved examples, the least similar first, then the oldest turns after the first message, which states
    the task. Raises ModelError where even that is too long. ``told``: say so, once for each model.
    """
    tokens = count(prompt)
    if tokens <= limit:
        return prompt
    if told:
        _tell(model, limit)
    for shorter in _shorter(prompt, best_last=form == TRANSCRIPT):
        if count(shorter) <= limit:
            return shorter
    raise ModelError(
        f"model {model!r} has room for {limit:,} prompt tokens and was given {tokens:,}, "
        "too many even without examples and past turns: use a model with a longer context"
    )


@cache
def _tell(model: str, limit: int) -> None:
    say(
        f"atlas: {model} has room for {limit:,} tokens of a prompt: from longer ones examples are left out, then the "
        "oldest turns"
    )


def _shorter(prompt: Prompt, *, best_last: bool) -> list[Prompt]:
    # A heading that opens a frame, a paragraph per example, the end of the frame: see atlas.prompts.examples_part.
    head, *examples = prompt.retrieved.split("\n\n")
    end = examples.pop() if examples else ""
    cut = [
        prompt.model_copy(
            update={"retrieved": "\n\n".join([head, *(examples[-n:] if best_last else examples[:n]), end])}
        )
        for n in range(len(examples) - 1, 0, -1)
    ]
    bare = prompt.model_copy(update={"retrieved": ""})
    first, rest = prompt.history[:1], prompt.history[1:]
    cut.append(bare)
    for start in range(_BLOCK, len(rest) + _BLOCK, _BLOCK):
        # The newest message, what is seen now, always stays.
        kept = rest[min(start, len(rest) - 1) :] if rest else ()
        cut.append(bare.model_copy(update={"history": first + kept}))
    return cut
