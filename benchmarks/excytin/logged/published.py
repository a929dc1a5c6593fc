"""What the benchmark's authors published: mean reward of the Baseline agent, 25 steps, judged by GPT-4o.

arXiv 2507.14201, table 2; the README of the benchmark's repository shows the same. The total is the sum of rewards
over the number of questions. Figures are rounded to three decimals, so ours are equal to them within half of the last.
"""

from __future__ import annotations

QUESTIONS = {5: 98, 34: 82, 38: 11, 39: 98, 55: 100, 134: 57, 166: 87, 322: 56}
"""Test questions of each incident; 589 in all."""

ROUNDING = 0.0005

MEANS: dict[str, dict[int, float]] = {
    "gpt-4o": {5: 0.338, 34: 0.293, 38: 0.364, 39: 0.273, 55: 0.249, 134: 0.491, 166: 0.166, 322: 0.315},
    "gpt-4o-mini": {5: 0.163, 34: 0.195, 38: 0.273, 39: 0.185, 55: 0.174, 134: 0.228, 166: 0.163, 322: 0.276},
    "gpt-4.1": {5: 0.356, 34: 0.315, 38: 0.364, 39: 0.295, 55: 0.258, 134: 0.474, 166: 0.292, 322: 0.489},
    "gpt-4.1-mini": {5: 0.324, 34: 0.210, 38: 0.182, 39: 0.248, 55: 0.248, 134: 0.333, 166: 0.216, 322: 0.387},
    "gpt-4.1-nano": {5: 0.164, 34: 0.185, 38: 0.091, 39: 0.118, 55: 0.136, 134: 0.077, 166: 0.097, 322: 0.179},
    "o3-mini": {5: 0.350, 34: 0.293, 38: 0.273, 39: 0.257, 55: 0.227, 134: 0.404, 166: 0.253, 322: 0.360},
    "o4-mini": {5: 0.312, 34: 0.383, 38: 0.545, 39: 0.362, 55: 0.284, 134: 0.568, 166: 0.269, 322: 0.517},
}
"""Mean reward by model and incident."""

TOTALS = {
    "gpt-4o": 0.293,
    "gpt-4o-mini": 0.192,
    "gpt-4.1": 0.338,
    "gpt-4.1-mini": 0.271,
    "gpt-4.1-nano": 0.136,
    "o3-mini": 0.296,
    "o4-mini": 0.368,
}
"""Mean reward by model over all 589 questions."""


def mean_over(model: str, incidents: list[int]) -> float | None:
    """The published mean over the questions of ``incidents``, from the rounded figures; None where one is missing."""
    means = MEANS.get(model, {})
    if not incidents or not all(i in means and i in QUESTIONS for i in incidents):
        return None
    return sum(QUESTIONS[i] * means[i] for i in incidents) / sum(QUESTIONS[i] for i in incidents)
