"""What a bench is asked to do, in one frozen record: its command line, the settings of its run, and so what is resumed.

A new option is a field of :class:`BenchOptions` and whoever reads it. Its help, its default, the values it takes and
whether it belongs to the settings stand with the field; ``atlas.cli.bench_options`` makes the command line of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.benchmarks.option import option as option
from atlas.budget import Budget
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.compression import Compressor
    from atlas.learning import Reward
    from atlas.policies import LaneRules
    from atlas.policies.recall import Every
    from atlas.reranking import Reranker

DEFAULT_ARMS = ("student", "icd", "cascade", "teacher", "random-route")

PARTS = ("plans", "probe", "pamphlets", "demonstrations", "judge")
"""Of the arm atlas: what it can be played without."""


@dataclass(frozen=True)
class BenchOptions:
    """An experiment: what determines its results, and how it is played. Benchmarks with options of their own, or other
    defaults, derive from it."""

    split: str = field(default="test", metadata=option("Which tasks of the benchmark.", "always"))
    arms: tuple[str, ...] = field(
        default=DEFAULT_ARMS,
        metadata=option(
            "Comma-separated; NAME@N uses the first N demos, cascade:T trusts the student from score T on; "
            "FILE.py:NAME or MODULE:NAME is one of your own.",
            "always",
        ),
    )
    student: str = field(default="nearest", metadata=option("A model: see 'atlas models ls'.", "apart"))
    teacher: str = field(default="", metadata=option("A model.", "apart", required=True))
    student_price: str | None = field(
        default=None, metadata=option("Dollars per million tokens: PROMPT/COMPLETION[/CACHED].", "apart")
    )
    teacher_price: str | None = field(default=None, metadata=option("The same for the teacher.", "apart"))
    demos: int = field(default=200, metadata=option("Train tasks the teacher demonstrates first.", "always", least=0))
    memory: str | Path | None = field(
        default=None,
        metadata=option("Use this memory, a file or a URL, (and add to it) instead of a new one.", "always"),
    )
    from_memory: bool = field(
        default=False,
        metadata=option("The arms online, lanes and atlas begin with a copy of the run's memory, not with nothing."),
    )
    n: int | None = field(
        default=None, metadata=option("Only N tasks of the split, taken evenly from all of it.", "always", least=1)
    )
    k: int | None = field(
        default=None,
        metadata=option(
            "Demonstrations shown per step. [default: 40 nearest, 6 others; with --recall episode 1, or as tuned]",
            "always",
            least=1,
            most=1000,
        ),
    )
    recall: str | None = field(
        default=None,
        metadata=option(
            "Look for demonstrations at every step, or once per episode and show them whole. [default: step; episode "
            "for a student that 'atlas models tune' tuned]",
            "apart",
            choices=("step", "episode"),
        ),
    )
    compress: Path | None = field(
        default=None,
        metadata=option(
            "Show less of each demonstration: a file of 'atlas memory compressor', 'actions' for all actions and what "
            "names them, or a folder with the weights of a token classifier such as LLMLingua-2's.",
            "apart",
        ),
    )
    compress_to: float = field(
        default=1 / 3,
        metadata=option(
            "Share of a demonstration's tokens that --compress leaves.", "apart", least=0.01, most=1, show_default=False
        ),
    )
    rerank: Path | None = field(
        default=None,
        metadata=option(
            "Choose which of the demonstrations that are found are shown: a file of 'atlas memory reranker'.", "apart"
        ),
    )
    history_to: int | None = field(
        default=None,
        metadata=option(
            "About the tokens that the student's prompts have for what happened so far in the episode: beyond, old "
            "steps are left out, down to about half of it. [default: no bound]",
            least=1,
            most=10_000_000,
        ),
    )
    window: int | None = field(
        default=None,
        metadata=option(
            "Steps shown around a match. [default: all nearest, 5 others]", "always", least=0, most=1_000_000
        ),
    )
    samples: int = field(
        default=3, metadata=option("Student samples per step in a cascade.", "always", least=1, most=1000)
    )
    temperature: float = field(
        default=0.1,
        metadata=option("Of the student's samples in a cascade and in pamphlets-sampled.", "always", least=0),
    )
    max_tokens: int = field(default=256, metadata=option("Tokens a reply may have.", "always", least=1, most=1_000_000))
    audit: float = field(
        default=0.0,
        metadata=option(
            "Share of the student's steps in a cascade that the teacher is asked about too: see 'atlas trust audit'.",
            least=0,
            most=1,
        ),
    )
    ask_for: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "An action that always needs the teacher's word, * for anything (execute, 'delete *'); may be given twice.",
            repeated=True,
        ),
    )
    step_judge: Path | None = field(
        default=None,
        metadata=option(
            "Folder that 'atlas train judge' wrote: arms such as cascade:judge:0.5 defer to the teacher by it.", "apart"
        ),
    )
    force_lane: str | None = field(
        default=None, metadata=option("In the arm lanes: auto, paired or coach, whatever the probe says.", "apart")
    )
    forbid_lane: tuple[str, ...] = field(
        default=(), metadata=option("In the arm lanes: never this one; may be given twice.", "apart", repeated=True)
    )
    lane_dollars: tuple[str, ...] = field(
        default=(),
        metadata=option("LANE=DOLLARS: the most that all episodes of a lane may cost.", "apart", repeated=True),
    )
    foresight: Path | None = field(
        default=None,
        metadata=option(
            "File of 'atlas trust foresee', by which the arms lanes and atlas choose lanes, also in mid-episode.",
            "apart",
        ),
    )
    guidance_tokens: int = field(
        default=300,
        metadata=option("What entries of pamphlets may take of a prompt.", "guided", least=1, most=1_000_000),
    )
    trials: float = field(
        default=0.0,
        metadata=option(
            "Share of episodes in which a coin decides for each entry whether it is shown: its evidence.",
            least=0,
            most=1,
        ),
    )
    plan: bool = field(
        default=False,
        metadata=option(
            "The teacher writes a plan with each demonstration, and the student one before it acts, from theirs.",
            "always",
            flags=("--plan/--no-plan",),
        ),
    )
    without: tuple[str, ...] = field(
        default=(),
        metadata=option(
            f"An ablation of the arm atlas: comma-separated, of {', '.join(PARTS)}.",
            metavar="PART,...",
            show_default=False,
        ),
    )
    judges: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Two or more that judge each episode of the arm atlas: models, or rule:grounded, rule:sure, review (the "
            "teacher's).",
            metavar="JUDGE,...",
            show_default=False,
        ),
    )
    arbiter: str = field(
        default="review", metadata=option("Who decides where the judges differ or are unsure: a judge as above.")
    )
    reward: str = field(
        default="env",
        metadata=option(
            "What the arm atlas learns from: the environment's score, and the judges' where it gives none; or the "
            "judges' alone.",
            choices=("env", "judged"),
        ),
    )
    distiller: str | None = field(
        default=None, metadata=option("A model that distils in the arm atlas. [default: the benchmark's rules]")
    )
    share: float | None = field(
        default=None,
        metadata=option("Teacher's share under random-route. [default: the cascade's]", "always", least=0, most=1),
    )
    seeds: tuple[int, ...] = field(
        default=(0,), metadata=option("Comma-separated; every arm plays every task once per seed.", "always")
    )
    tasks_seed: int = field(
        default=0, metadata=option("Which tasks are drawn or generated, where the benchmark does so.", "always")
    )
    max_steps: int | None = field(
        default=None, metadata=option("Actions per episode. [default: the benchmark's]", "apart", least=1)
    )
    embedder: str = field(
        default="minilm", metadata=option("minilm, hash, or sentence-transformers/NAME or FOLDER.", "always")
    )
    index: str = field(
        default="auto",
        metadata=option("What memories are searched by: auto, exact, faiss, chroma, or chroma://HOST:PORT."),
    )
    concurrency: int = field(default=8, metadata=option("Episodes in flight.", "no", least=1))
    budget_dollars: float | None = field(
        default=None, metadata=option("Of the whole run; resume with more to go on.", "no", least=0)
    )
    budget_tokens: int | None = field(default=None, metadata=option("Of the whole run.", "no", least=0))
    episode_dollars: float | None = field(default=None, metadata=option("Of each episode.", "no", least=0))
    episode_tokens: int | None = field(default=None, metadata=option("Of each episode.", "no", least=0))
    ray: str | None = field(
        default=None,
        metadata=option(
            "Play by workers of Ray: a cluster's HOST:PORT, or auto; alone, by workers on this machine.",
            "no",
            metavar="[ADDRESS]",
            bare="local",
        ),
    )
    out: str | None = field(
        default=None,
        metadata=option("Run: a folder or a URL; an existing one is resumed.", "no", flags=("-o", "--out")),
    )
    graph: bool = field(
        default=False,
        metadata=option("Play by the LangGraph graph: the same episodes, replies of models kept in a journal.", "no"),
    )
    retry_errors: bool = field(
        default=True,
        metadata=option(
            "Whether a resumed run plays again what ended with an error.", "no", flags=("--retry-errors/--keep-errors",)
        ),
    )
    permitted: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Models whose terms allow training on their words (openai/* too): kept in the run, for exports and "
            "training; a resumed run may add some.",
            "no",
            metavar="MODEL,...",
            show_default=False,
        ),
    )
    otlp: str | None = field(
        default=None,
        metadata=option("URL of an OpenTelemetry collector: spans are sent there as they happen.", "no"),
    )
    otlp_content: bool = field(
        default=False, metadata=option("Prompts, replies and tools' results in those spans too.", "no")
    )
    as_json: bool = field(
        default=False,
        metadata=option("Results as JSON on standard output, progress on standard error.", "no", flags=("--json",)),
    )

    def settings(self, *, guided: bool) -> dict[str, object]:
        """The options among the settings of a run, some of whose arms read pamphlets where ``guided``."""
        found: dict[str, object] = {}
        for each in fields(self):
            how, value = each.metadata["option"].hashed, getattr(self, each.name)
            changed = value != each.default
            if how == "always" or (how == "changed" and changed) or (how == "guided" and (guided or changed)):
                found[each.name] = list(value) if isinstance(value, tuple) else value
        from atlas.memory.backend import is_url, told

        memory = str(self.memory) if self.memory else None
        if memory is not None:
            memory = told(memory) if is_url(memory) else str(Path(memory).resolve())
        lanes = self.rules.model_dump(mode="json", exclude_defaults=True)
        if self.foresight is not None:
            from atlas.chances.foresight import Foresight

            found["foresight"] = Foresight.load(self.foresight).digest
        # Not where it is as it always was: runs from before there was the option are resumed.
        recall = {} if self.every == "step" else {"recall": self.every}
        if (compressor := self.compressor) is not None:
            found["compress"] = [compressor.digest, self.compress_to]
        if (reranker := self.reranker) is not None:
            found["rerank"] = reranker.digest
        _ = self.told  # refused before anything is paid
        return {**found, **recall, "memory": memory, "k": self.shown, "window": self.around, "lanes": lanes}

    @cached_property
    def compressor(self) -> Compressor | None:
        """What leaves parts of demonstrations out; None where they are shown whole."""
        from atlas.compression import load_compressor

        if self.compress is None:
            return None
        if self._copies:
            raise ConfigError(
                f"{self.student} reads no prompt, so that nothing is saved by showing it less: leave --compress out"
            )
        return load_compressor(self.compress)

    @cached_property
    def reranker(self) -> Reranker | None:
        """What chooses among the demonstrations that are found; None where the likest are shown."""
        from atlas.reranking import load_reranker

        if self.rerank is None:
            return None
        if self._copies:
            raise ConfigError(
                f"{self.student} reads no prompt, so that it is not for a reranker to say what stands in it: leave "
                "--rerank out"
            )
        found = load_reranker(self.rerank)
        if found.every != self.every:
            raise ConfigError(
                f"{self.rerank} chooses demonstrations for each {found.every}: add --recall {found.every}, or give one "
                f"that was learned with --recall {self.every}"
            )
        return found

    @property
    def told(self) -> int | None:
        """Tokens that the student's prompts have for the episode so far; None for as many as it takes."""
        if self.history_to is not None and self._copies:
            raise ConfigError(
                f"{self.student} reads no prompt, so that nothing is saved by telling it less: leave --history-to out"
            )
        return self.history_to

    @property
    def shown(self) -> int:
        """Demonstrations per step, or per episode."""
        return self.k or (40 if self._copies else 6 if self.every == "step" else self._tuned or 1)

    @property
    def every(self) -> Every:
        """How often demonstrations are looked for."""
        return "episode" if (self.recall or ("episode" if self._tuned else "step")) == "episode" else "step"

    @property
    def _tuned(self) -> int | None:
        """Demonstrations for an episode that ``atlas models tune`` found best for the student; None untuned."""
        from atlas.models.readings import reading_of

        found = reading_of(self.student)
        return found.best.k if found is not None else None

    @property
    def around(self) -> int:
        """Steps around a match. The nearest-demonstration student reads whole trajectories; a prompt has room for
        windows."""
        return self.window if self.window is not None else (1_000 if self._copies else 5)

    @property
    def reward_from(self) -> Reward:
        return "judged" if self.reward == "judged" else "env"

    def check_parts(self) -> None:
        """Raises ConfigError for an ablation of something that is no part, and where a reward has nobody to give it."""
        if unknown := [part for part in self.without if part not in PARTS]:
            raise ConfigError(f"--without takes parts of the arm atlas, {', '.join(PARTS)}, not {unknown[0]!r}")
        judging = self.judges if "judge" not in self.without else ()
        if self.judges and len(self.judges) < 2:
            raise ConfigError(f"--judges needs two or more to agree or differ: name another beside {self.judges[0]}")
        if self.arbiter != BenchOptions.arbiter and not self.judges:
            raise ConfigError("--arbiter decides where judges differ, and there are none: name some with --judges")
        if self.reward == "judged" and not judging:
            raise ConfigError("--reward judged learns from judges alone, and there are none: name some with --judges")

    @property
    def _copies(self) -> bool:
        return self.student == "nearest"

    @property
    def budget(self) -> Budget:
        """Of each episode."""
        return Budget(dollars=self.episode_dollars, tokens=self.episode_tokens)

    @property
    def run_budget(self) -> Budget:
        return Budget(dollars=self.budget_dollars, tokens=self.budget_tokens)

    @property
    def rules(self) -> LaneRules:
        """Which lanes are forced, forbidden or budgeted. Raises ConfigError for lanes that do not exist."""
        from atlas.policies import LaneRules

        limits = dict(map(_limit, self.lane_dollars))
        rules = LaneRules(force=self.force_lane, forbid=self.forbid_lane, dollars=limits)
        rules.check()
        return rules


def _limit(text: str) -> tuple[str, float]:
    lane, _, limit = text.partition("=")
    try:
        return lane, float(limit)
    except ValueError:
        raise ConfigError(f"--lane-dollars takes LANE=DOLLARS, such as coach=0.50, not {text!r}") from None


def listed(text: str) -> tuple[str, ...]:
    """What stands between commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas, each once."""
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise ConfigError(f"--seeds takes whole numbers separated by commas, not {text!r}") from None
