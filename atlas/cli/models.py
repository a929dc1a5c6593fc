"""``atlas models``: what can be named, fetching embedded weights, and names of your own."""

from __future__ import annotations

import json
from pathlib import Path

import click

as_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.group(help="List the models that can be named, fetch embedded ones, give names.")
def command() -> None:
    pass


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model, a line each.")
def list_models(as_json: bool) -> None:
    """All models with their price in dollars per million tokens, and what they need."""
    from atlas.models import catalogue

    entries = catalogue()
    if as_json:
        for entry in entries:
            click.echo(entry.model_dump_json())
        return
    from rich import box
    from rich.table import Table

    from atlas.errors import install
    from atlas.tables import UNPRICED, console, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "kind", "what", "licence", "ready", "$/M in", "$/M out"):
        table.add_column(
            name, justify="right" if name.startswith("$") else "left", no_wrap=name == "model", overflow="fold"
        )
    for entry in entries:
        needs = "yes" if entry.installed else f"needs extra {entry.extra}" if entry.extra else "no"
        if not entry.installed and entry.kind == "embedded":
            needs = f"atlas models fetch {entry.name}"
        # A model that a user wrote states its price itself, and is not loaded for a list.
        unknown = "its own" if "python:" in (entry.name[:7], entry.what[:7]) else UNPRICED
        prices = (f"{entry.price.prompt:g}", f"{entry.price.completion:g}") if entry.price else (unknown, unknown)
        what = f"{entry.what}; {entry.reading}" if entry.reading else entry.what
        table.add_row(*(plain(text) for text in (entry.name, entry.kind, what, entry.licence, needs)), *prices)
    out = console()
    out.print(table)
    missing = dict.fromkeys(e.extra for e in entries if not e.installed and e.extra and e.kind != "embedded")
    for extra in missing:
        out.print(plain(f"extra {extra}: {install(extra)}", "dim"), soft_wrap=True)


@command.command("fetch")
@click.argument("name")
@as_json_option
def fetch(name: str, as_json: bool) -> None:
    """Get the weights of an embedded model now, checked against their hash, instead of at first use."""
    from atlas.assets import fetch as get

    path = get(name)
    click.echo(json.dumps({"name": name, "path": str(path)}) if as_json else path)


@command.group("add", help="Give a model a name of yours, which then works wherever a model is named.")
def add() -> None:
    pass


@add.command("local")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@as_json_option
def add_local(name: str, path: Path, as_json: bool) -> None:
    """NAME a trained student, a folder of transformers or a .gguf file at PATH."""
    from atlas.named import local_spec

    _give(name, local_spec(path), "", as_json)


@add.command("alias")
@click.argument("name")
@click.argument("model")
@click.option("--base-url", help="MODEL is at this server of yours, such as http://localhost:8000/v1.")
@click.option("--price", default="", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED]; 0/0 for your own.")
@as_json_option
def add_alias(name: str, model: str, base_url: str | None, price: str, as_json: bool) -> None:
    """NAME a role, such as clerk, that MODEL has for now: 'atlas promote' may give it to another."""
    from atlas.errors import ConfigError
    from atlas.models import parse_price
    from atlas.models.registry import at_server, check_name
    from atlas.named import meaning

    known = meaning(model)
    spec = known.model if known is not None else model
    if base_url is not None:
        spec = f"{spec}@{base_url}"
        if "/" not in model or not at_server(spec)[1]:
            raise ConfigError(
                f"--base-url {base_url} with {model} is no model at a server: write openai/NAME for MODEL, and a URL "
                "such as http://localhost:8000/v1"
            )
    check_name(spec)
    if price:
        parse_price(price)
    _give(name, spec, price or (known.price if known is not None else ""), as_json)


def _give(name: str, model: str, price: str, as_json: bool) -> None:
    from atlas.errors import ConfigError
    from atlas.models.registry import names
    from atlas.named import give

    if name in names():
        raise ConfigError(f"{name!r} is a model of atlas itself: choose another name")
    give(name, model, price=price, new=True)
    click.echo(json.dumps({"name": name, "model": model}) if as_json else f"{name} is {model}")


@command.command("remove")
@click.argument("name")
@as_json_option
def remove(name: str, as_json: bool) -> None:
    """Forget a NAME that you gave; the model stays where it is."""
    from atlas.named import remove as forget

    forget(name)
    if as_json:
        click.echo(json.dumps({"removed": name}))


@command.command("export")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .gguf file to write.")
@click.option("--like", type=click.Path(path_type=Path), help="GGUF file of the base. [default: as the student says]")
@as_json_option
def export(path: Path, out: Path, like: Path | None, as_json: bool) -> None:
    """Write the student in the folder PATH as GGUF (8 bits), which llama.cpp and its like serve.

    The folder itself, with its safetensors, is what vLLM and transformers serve: it needs no export. A student from
    scratch has no such form; it plays in process.
    """
    from atlas.train.gguf import base_file, write_gguf

    size = write_gguf(path, out, like or base_file(path))
    if as_json:
        click.echo(json.dumps({"file": str(out), "bytes": size, "model": f"gguf:{out}"}))
    else:
        click.echo(f"wrote {out}, {size / 1e6:,.0f} MB: as a model it is named gguf:{out}")


@command.command("tune")
@click.argument("name")
@click.option(
    "--memory", type=click.Path(path_type=Path, exists=True), help="Demonstrations. [default: 100 of the expert's]"
)
@click.option("--split", default="train", show_default=True, help="train, or homes (generated); not what you test on.")
@click.option("--games", default=8, type=click.IntRange(min=1), show_default=True, help="Taken evenly from the split.")
@click.option(
    "--each", default=3, type=click.IntRange(min=1), show_default=True, help="Each so many-th state of a game."
)
@as_json_option
def tune(name: str, memory: Path | None, split: str, games: int, each: int, as_json: bool) -> None:
    """Try how the local model NAME reads prompts best, in minutes, and remember it: load and 'atlas bench' use it from
    then on, and 'atlas models ls' tells it.

    Its action is compared with the scripted expert's at states of ALFWorld games. The same command goes on where it was
    killed.
    """
    import shutil

    from atlas.assets import cache_dir
    from atlas.benchmarks.tuning import Tuning, place_of
    from atlas.models.readings import Tried, keep

    def seen(tried: Tried, done: int, of: int) -> None:
        click.echo(f"\r{tried.words}: {done} of {of} states", nl=done == of, err=True)

    folder = place_of(cache_dir(), name, memory.resolve() if memory else "", split, games, each)
    reading = Tuning(name, folder, memory, split, games, each, seen).run()
    file = keep(name, reading)
    shutil.rmtree(folder)
    if as_json:
        click.echo(json.dumps({"model": name, "file": str(file), **reading.model_dump()}))
        return
    from atlas.figures import percent_interval
    from atlas.stats import wilson

    for tried in sorted(reading.tried, key=lambda one: -one.good):
        mark = "*" if tried == reading.best else " "
        click.echo(f"{mark} {percent_interval(wilson(tried.good, tried.states)):20} {tried.words}")
    click.echo(f"Of {reading.best.states} states of {split} games. {name} is read so from now on; kept in {file}")
