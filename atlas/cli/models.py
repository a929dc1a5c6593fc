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
        table.add_row(*(plain(text) for text in (entry.name, entry.kind, entry.what, entry.licence, needs)), *prices)
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
