"""``atlas promote``: a trained student takes the place of the cheap model, where it is not worse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.bench import new_folder
from atlas.cli.number import Number
from atlas.cli.stopping import goes_on, typed_command
from atlas.errors import ConfigError
from atlas.figures import figure

if TYPE_CHECKING:
    from atlas.benchmarks.promotion import Promotion
    from atlas.named import Meaning


@click.command(help="Let a trained student take the place of the present one, where it is not worse.")
@click.argument("role")
@click.argument("candidate", required=False)
@click.option("--undo", is_flag=True, help="Give ROLE back to who had it before.")
@click.option("--split", default="homes", show_default=True, help="Held-out tasks: homes, valid_seen, valid_unseen...")
@click.option("--n", default=60, type=click.IntRange(min=1), show_default=True, help="How many of them.")
@click.option("--seeds", default="0", show_default=True, help="Comma-separated.")
@click.option("--tasks-seed", default=0, show_default=True, help="Which homes.")
@click.option(
    "--margin",
    default=0.05,
    type=Number(0, 1, max_open=True),
    show_default=True,
    help="What counts as not worse.",
)
@click.option(
    "--delta",
    default=0.1,
    type=Number(0, 1, min_open=True, max_open=True),
    show_default=True,
    help="Chance of a wrong yes.",
)
@click.option(
    "--within",
    default=0.02,
    type=Number(0, 1, min_open=True, max_open=True),
    show_default=True,
    help="Target of the trust.",
)
@click.option("--teacher", default="scripted:alfworld", show_default=True, help="A model.")
@click.option("--memory", help="FILE or URL of a memory: demonstrations that both recall.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the official games. [default: ALFWORLD_DATA]")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Run folder; an existing one is resumed.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
def command(role: str, candidate: str | None, undo: bool, **options: Any) -> None:
    """ROLE is a name of yours ('atlas models add alias clerk openai/gpt-4.1-mini'), CANDIDATE any model.

    Both play held-out tasks of the household benchmark. The role is given to CANDIDATE when it is not worse than the
    present model by --margin or more, tested at --delta; its cascade is calibrated in the same run. Exit code 1 where
    it is not given. --undo takes it back.
    """
    from atlas.named import Meaning, give, meaning
    from atlas.named import undo as back
    from atlas.traces.writer import check_run_folder

    if undo:
        if candidate is not None:
            raise ConfigError("--undo gives the role back to who had it before: name no candidate with it")
        now = back(role).now.model
        click.echo(json.dumps({"role": role, "model": now}) if options["as_json"] else f"{role} is {now} again")
        return
    if candidate is None:
        raise ConfigError(f"who shall be {role}? Name a candidate, or --undo")
    present = meaning(role)
    if present is None:
        raise ConfigError(f"nobody is {role} yet: 'atlas models add alias {role} MODEL' says who is")
    known = meaning(candidate)
    spec, price = (known.model, known.price) if known is not None else (candidate, "")
    against = present
    if given := spec == present.model:
        # The same command again: what was played for the role is told again, and the role is not given twice.
        if options["out"] is not None:
            check_run_folder(options["out"])
        before = _who_was(role, options["out"], spec)
        if before is None:
            raise ConfigError(
                f"{role} is {spec} already: name another candidate, or as -o the run in which it became so"
            )
        against = before
    folder, result = _contest(role, Meaning(model=spec, price=price, since=0), against, options)
    if result.promoted and not given:
        why = f"{_against(result)} on {result.tasks} held-out tasks, {folder.name}"
        certificate = result.trust.certificate
        certified = certificate is not None and certificate.certified
        # What is not certified is no reason to leave unanimity for.
        give(role, spec, why=why, price=price, trust=result.trust.model_dump(mode="json") if certified else None)
    _told(role, candidate, result, folder, given=given, as_json=options["as_json"])
    if not result.promoted and not given:
        raise click.exceptions.Exit(1)


def _who_was(role: str, folder: Path | None, candidate: str) -> Meaning | None:
    """Against whom ``candidate`` played in the run at ``folder``, as far as that is known; None where it did not."""
    from atlas.named import Meaning, names
    from atlas.traces import Run
    from atlas.traces.writer import MANIFEST

    if folder is None or not (folder / MANIFEST).is_file():
        return None
    settings = Run(folder).settings
    was = str(settings.get("present"))
    if settings.get("kind") != "promotion" or settings.get("candidate") != candidate or was == candidate:
        return None
    past = names()[role].before
    return next((one for one in reversed(past) if one.model == was), Meaning(model=was, since=0))


def _contest(role: str, candidate: Meaning, present: Meaning, options: dict[str, Any]) -> tuple[Path, Promotion]:
    """The run's folder and what came of it."""
    from atlas.benchmarks.alfworld.suite import Alfworld
    from atlas.benchmarks.options import numbers
    from atlas.benchmarks.promotion import Contest
    from atlas.benchmarks.sharing import Shared
    from atlas.cli.bench import live
    from atlas.memory import DemonstrationStore
    from atlas.memory.backend import existing, told
    from atlas.models import load
    from atlas.traces import RunWriter
    from atlas.traces.roles import written

    suite = Alfworld(options["data"])
    tasks = suite.tasks(options["split"], options["n"], options["tasks_seed"])
    seeds = numbers(options["seeds"])
    kept = DemonstrationStore(existing(options["memory"])) if options["memory"] else None
    contest = Contest(
        present=load(present.model, price=present.price or None),
        candidate=load(candidate.model, price=candidate.price or None),
        teacher=load(options["teacher"]),
        memory=kept,
        margin=options["margin"],
        delta=options["delta"],
        within=options["within"],
    )
    of_each = dict.fromkeys(contest.policies(), len(tasks) * len(seeds))
    settings = {
        "kind": "promotion",
        "benchmark": suite.name,
        "present": present.model,
        "candidate": candidate.model,
        "teacher": options["teacher"],
        "memory": told(options["memory"]) if options["memory"] else None,
        **{key: options[key] for key in ("split", "n", "seeds", "tasks_seed")},
    }
    try:
        # A run that cannot begin leaves no folder behind.
        folder: Path = options["out"] or new_folder(f"promote-{role}")
        more = () if options["out"] else ("-o", str(folder))
        with (
            RunWriter(folder, settings, {"command": typed_command(), **written(contest.roles)}) as writer,
            Shared(folder) as shared,
            live(as_json=options["as_json"], planned=lambda: of_each) as seen,
            goes_on(lambda: more),
        ):
            episodes = asyncio.run(
                contest.play(
                    tasks,
                    seeds,
                    writer,
                    run=folder.name,
                    max_steps=suite.max_steps,
                    shared=shared,
                    seen=seen,
                )
            )
    finally:
        if kept is not None:
            kept.close()
    return folder, contest.settle(episodes, run=folder.name)


def _against(result: Promotion) -> str:
    return f"{figure(result.candidate)} % against {figure(result.present)} %"


def _told(role: str, candidate: str, result: Promotion, folder: Path, *, given: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"role": role, "run": str(folder), **result.model_dump(mode="json")}, indent=2))
        return
    from atlas.figures import money
    from atlas.tables import console, plain, points_interval

    out = console()
    verdict = f"{role} is {candidate} already" if given else f"{role} is {candidate} now"
    if not result.promoted:
        verdict = f"{verdict}, and this would not make it so" if given else f"{role} stays who it was"
    out.print(plain(verdict, "bold green" if result.promoted else "bold red"))
    out.print(
        plain(
            f"Success {_against(result)} on {result.tasks} held-out tasks: "
            f"{points_interval(result.difference)} points; 'worse by {figure(result.margin)} % or more' has "
            f"p = {result.p:.3f}, and {result.delta:g} was asked for."
        )
    )
    out.print(
        plain(
            f"An episode of the student alone cost {money(result.candidate_dollars)} "
            f"against {money(result.present_dollars)}."
        )
    )
    certificate = result.trust.certificate
    if certificate is not None:
        trusted = (
            f"by {result.trust.name}, certified for" if certificate.certified else "when unanimous; not certified is"
        )
        out.print(plain(f"In a cascade it is trusted {trusted}: {certificate.target}."))
    back = f"   (atlas promote {role} --undo takes it back)" if result.promoted else ""
    out.print(f"Run: {folder}{back}", markup=False)
