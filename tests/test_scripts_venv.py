"""What makes the virtual environments of this project."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "venv"


def test_packages_are_compiled_when_they_are_imported(tmp_path: Path) -> None:
    """By an option: PIP_NO_COMPILE=1 is read as compile = 1."""
    python, log = tmp_path / "bin" / "python", tmp_path / "log"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "${{PIP_NO_COMPILE-}} $*" >> {log}\n')
    python.chmod(0o755)
    subprocess.run([SCRIPT, tmp_path, "pins.txt", "dev", "one"], check=True, timeout=60)
    installs = [line for line in log.read_text().splitlines() if " install " in line]
    assert len(installs) == 2
    assert all(line.startswith(" ") and " --no-compile " in line for line in installs)
