"""What ``atlas bench excytin`` is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from atlas.benchmarks.options import BenchOptions, option

LAYERS = ("alert", "log", "alert_only")
SEED, TRANSFER = "seed-then-evaluate", "frozen-transfer"


@dataclass(frozen=True)
class ExcytinOptions(BenchOptions):
    """The options of every bench, and which questions, about what rows, judged by whom: these are in the suite's name,
    and so among the settings."""

    split: str = field(default="test", metadata=option("test or train questions.", "always"))
    teacher: str = field(default="scripted:excytin", metadata=option("A model.", "apart"))
    demos: int = field(
        default=200,
        metadata=option(
            "Train tasks the teacher demonstrates first. [default: 200; with a preset, all train questions]",
            "always",
            least=0,
            show_default=False,
        ),
    )
    tasks_seed: int = field(
        default=0, metadata=option("Which incidents are generated, which train questions come first.", "always")
    )
    max_steps: int | None = field(default=None, metadata=option("Actions per episode. [default: 25]", "apart", least=1))
    data: Path | None = field(
        default=None,
        metadata=option(
            "Folder with questions/ and db/. [default: ATLAS_DATA for --incident below 10,000; else generated]", "no"
        ),
    )
    incident: int | None = field(
        default=None, metadata=option("Only this incident, such as 5, or 10050, a generated one.", "no", least=1)
    )
    from_incident: int | None = field(
        default=None, metadata=option("Demonstrate on this incident's train questions.", "no", least=1)
    )
    preset: str | None = field(
        default=None,
        metadata=option(
            "The paper's protocol: demonstrations on an incident's train questions, then its test questions; or a "
            "memory from one incident, frozen, on another.",
            "no",
            choices=(SEED, TRANSFER),
        ),
    )
    judge: str | None = field(
        default=None, metadata=option("A model that judges answers, in place of rules: see 'atlas models ls'.", "no")
    )
    judge_price: str | None = field(
        default=None, metadata=option("Dollars per million tokens: PROMPT/COMPLETION[/CACHED].", "no")
    )
    layer: str = field(
        default="alert",
        metadata=option("Tables the agent sees, as the benchmark names them.", "no", choices=LAYERS),
    )
    mysql: str | None = field(
        default=None,
        metadata=option("URL of a MySQL or MariaDB database with the incident's tables, in place of the files.", "no"),
    )
    rows: int = field(default=5_000, metadata=option("Noise in a generated incident.", "no", least=0))
