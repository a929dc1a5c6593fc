"""What scripted teachers have in common: what they would have cost, had a hosted model written the same."""

from __future__ import annotations

from atlas.records import Ask, Completion, Price, Reply, Usage
from atlas.tokens import estimate_tokens

STATED_PRICE = Price(
    prompt=3.0,
    completion=15.0,
    note="stated for comparison: list price of Claude Sonnet 4.5, the teacher of 2512.02543",
)


def charged(ask: Ask, text: str, price: Price) -> Completion:
    """``ask`` answered with ``text``, at the price of its estimated tokens (:func:`atlas.tokens.estimate_tokens`), none
    of them cached.

    Samples are equal: a script has no temperature. They are charged like n samples of one call.
    """
    prompt, completion = estimate_tokens(ask.prompt.text()), estimate_tokens(text) * ask.n
    usage = Usage(
        calls=1,
        prompt_tokens=prompt,
        completion_tokens=completion,
        dollars=price.dollars(prompt, completion),
    )
    return Completion(replies=(Reply(text=text, logprob=0.0),) * ask.n, usage=usage)
