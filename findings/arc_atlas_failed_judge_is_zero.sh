#!/usr/bin/env bash
# arc-atlas judges each session with three calls of a model. Where none of them gives a verdict (the judge's server is down, its key
# is wrong, it answers in prose) the session's reward is 0.0, as for a wrong answer, and its statistics count one sample, which
# nobody gave. That 0.0 is added to what each entry of its playbook has brought: an outage of the judge teaches that what worked
# did not.
# Seen with arc-atlas==0.1.16 (its requirements as far as the evaluator needs them), one session with a right answer:
#   judge raises TimeoutError: score 0.0, sample_count 1    judge answers in prose: score 0.0, sample_count 1
#   judge says 0.0: score 0.0, sample_count 3               judge says 0.9: score 0.9, sample_count 3
# It is told apart by its uncertainty of exactly 1.0, and by errors in the evaluation's `audit`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-deps arc-atlas==0.1.16
"$folder/venv/bin/pip" install -q httpx==0.28.1 langchain-core==1.8.3 langgraph==1.2.24 pydantic==2.14.4 pyyaml==6.0.4
cat >"$folder/seen.py" <<'PY'
from types import SimpleNamespace

from atlas.config.models import LLMParameters, RIMConfig
from atlas.evaluation.evaluator import Evaluator, SessionTrajectory

VERDICT = '{"score": %s, "uncertainty": 0.1, "rationale": "because", "principles": []}'


class Judge:
    model = "judge"

    def __init__(self, says):
        self.says = says

    async def acomplete(self, messages, **_):
        if isinstance(self.says, Exception):
            raise self.says
        return SimpleNamespace(content=self.says, reasoning=None, raw={}, usage=None)


session = SessionTrajectory(task="What is 2 + 2?", final_answer="4", plan={"steps": []}, steps=[])
model = LLMParameters(model="gpt-4.1-mini")
config = RIMConfig(small_model=model, large_model=model)


def seen(says):
    judged = Evaluator(config, small_client=Judge(says), large_client=Judge(says)).evaluate_session(session)
    got = judged.reward.score, judged.statistics["sample_count"], judged.statistics["uncertainty_mean"]
    print(f"{says!r:.40} -> score, samples, uncertainty {got}")
    return got


for nothing in (TimeoutError("no answer"), "I would say that it is right."):
    assert seen(nothing) == (0.0, 1, 1.0)
assert seen(VERDICT % 0.0)[:2] == (0.0, 3)
assert seen(VERDICT % 0.9)[:2] == (0.9, 3)
PY
"$folder/venv/bin/python" -I "$folder/seen.py"
