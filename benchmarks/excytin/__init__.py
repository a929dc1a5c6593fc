"""ExCyTIn-Bench: a security analyst answers questions about an incident by querying its logs with SQL.

It could be a distribution of its own. Of the rest it imports these seams alone:

- records and what stands on them: ``atlas.records``, ``atlas.errors``, ``atlas.protocols``, ``atlas.prompts``
- to ask a model: ``atlas.asking``, ``atlas.models``
- to judge: ``atlas.evaluators``, ``atlas.evaluators.verdict``, ``atlas.evaluators.answer``, ``atlas.evaluators.rules``,
  ``atlas.evaluators.asking``, ``atlas.evaluators.reply``, ``atlas.evaluators.calibration``
- to remember: ``atlas.memory``, ``atlas.memory.backend``, ``atlas.memory.distil``, ``atlas.memory.embed``,
  ``atlas.memory.pamphlet``, ``atlas.memory.pamphlets``
- to say how likely an answer is right, and a success: ``atlas.chances.logged``, ``atlas.chances.measure``,
  ``atlas.chances.foreseen``, ``atlas.chances.foresight``
- to write patterns that the copying student follows: ``atlas.copying.asked``, ``atlas.copying.slots``,
  ``atlas.copying.values``
- to read and write runs: ``atlas.traces.reader``, ``atlas.traces.writer``, ``atlas.traces.verdicts``, ``atlas.regrade``
- to be a suite: ``atlas.benchmarks.suite``, ``atlas.benchmarks.options``, ``atlas.benchmarks.scripted``,
  ``atlas.benchmarks.perf.table``, ``atlas.benchmarks.program``
- for the rest: ``atlas.assets``, ``atlas.stats``, ``atlas.stats.resampling``, ``atlas.figures``, ``atlas.tables``,
  ``atlas.jsontext``, ``atlas.loose_json``, ``atlas.lazy``

And the rest imports it in four places alone, all when they are asked for it: the commands that bear its name
(``atlas/cli/*_excytin.py``), the registry, for the scripted analyst, ``python -m atlas.benchmarks.perf``, and ``python
-m atlas.benchmarks.transfer``, to look whether its incidents are there.
``tests/test_layers.py`` holds both lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.benchmarks.excytin.judge import RuleJudge
    from atlas.benchmarks.excytin.model_judge import ExcytinModelJudge
    from atlas.benchmarks.excytin.suite import Excytin
    from atlas.benchmarks.excytin.teacher import ScriptedAnalyst

__all__ = [
    "Excytin",
    "ExcytinModelJudge",
    "RuleJudge",
    "ScriptedAnalyst",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.benchmarks.excytin.judge": "RuleJudge",
        "atlas.benchmarks.excytin.model_judge": "ExcytinModelJudge",
        "atlas.benchmarks.excytin.suite": "Excytin",
        "atlas.benchmarks.excytin.teacher": "ScriptedAnalyst",
    },
)
