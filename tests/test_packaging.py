"""One import namespace however the project is installed: links, editable, sdist, wheel, beside a user's own modules."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("memory", "evaluators", "benchmarks")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output; a failure shows what the command said."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it; no network is used."""
    pytest.importorskip("build", reason="the dev extra is not installed")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a fresh environment that holds the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    # Only a path, so that .pth files there, such as our own editable install, have no effect.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_links_are_relative_and_right() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: an sdist holds folders in place of the links")
    for name in FOLDERS:
        link = ROOT / "atlas" / name
        assert os.readlink(link) == f"../{name}"
        assert (link / "__init__.py").samefile(ROOT / name / "__init__.py")


def test_wheel_has_one_top_level_package_and_its_data(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"atlas"}
    assert {f"atlas/{name}/__init__.py" for name in FOLDERS} <= names
    assert "atlas/py.typed" in names
    resources = (ROOT / "atlas").glob("benchmarks/*/resources/*")
    assert {path.relative_to(ROOT).as_posix() for path in resources if path.is_file()} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_sdist_has_what_it_takes_to_build_and_test(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        files = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        assert not any(member.issym() or member.islnk() for member in archive.getmembers())
    assert {f"atlas/{name}/__init__.py" for name in FOLDERS} <= files
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/test_packaging.py"} <= files


def test_wheel_runs_beside_a_users_own_modules(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "memory.py").write_text("mine = True\n")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("mine = True\n")
    code = """
import memory, benchmarks, atlas, atlas.memory, atlas.benchmarks, atlas.evaluators
assert memory.mine and benchmarks.mine
print(atlas.__file__)
"""
    where = run(installed / "python", "-c", code, cwd=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent), "the fresh environment imported another atlas"
    assert run(installed / "atlas", "--version", cwd=tmp_path).startswith("atlas, version ")
    assert "bench" in run(installed / "atlas", "--help", cwd=tmp_path)


def test_installs_expose_no_top_level_memory(installed: Path, tmp_path: Path) -> None:
    code = """
from importlib.util import find_spec
import atlas.memory, atlas.benchmarks, atlas.evaluators
print([name for name in ("memory", "evaluators", "benchmarks") if find_spec(name)])
"""
    assert run(installed / "python", "-c", code, cwd=tmp_path).strip() == "[]"
    # This environment: an editable install under `make`, which must be no different.
    assert run(sys.executable, "-c", code, cwd=tmp_path).strip() == "[]"
