"""What can go wrong that a person can mend.

Each message is one sentence that names the input and the mend. The command line prints it as it is and exits with
code 2; nothing else in the package exits.
"""

from __future__ import annotations

PACKAGE = "atlas-cascade"


def install(extra: str) -> str:
    """The command that adds ``extra`` to this installation: from where it came from, as it is on no package index."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        # PEP 610; absent for what came from an index.
        origin = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return f"pip install '.[{extra}]' in a clone of atlas"
    url = str(origin.get("url", ""))
    if not url:
        return f"pip install '{PACKAGE}[{extra}]'"
    if "dir_info" in origin:
        flag = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {flag}'{unquote(urlsplit(url).path)}[{extra}]'"
    vcs = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
    return f"pip install '{PACKAGE}[{extra}] @ {vcs}{url}'"


class AtlasError(Exception):
    """Base of every error whose message is meant for the user."""


class ConfigError(AtlasError):
    """A name, option or combination that does not exist or does not fit."""


class DataError(AtlasError):
    """A file or folder that is absent, truncated or not what it should be."""


class MissingExtra(AtlasError):
    """A feature whose packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: {install(extra)}")
        self.extra = extra


class ModelError(AtlasError):
    """A model could not answer: after retries, or for a reason that a retry cannot mend.

    What was used before it failed is paid all the same: the model says so by :attr:`atlas.records.Ask.paid`.
    ``status`` is the HTTP status of its provider's answer and ``code`` what that calls the error, where they are known.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BudgetExceeded(AtlasError):
    """A budget is spent. The loop turns it into the stop reason ``budget`` or ``run_budget``."""

    def __init__(self, message: str, what: str = "episode") -> None:
        super().__init__(message)
        self.what = what


class ActionRefused(AtlasError):
    """An action that may be taken on a teacher's word alone, where there is no teacher."""


class StoreError(AtlasError):
    """A memory or trace file that cannot be read or written."""


class FrozenMemory(StoreError):
    """A memory that is frozen: it is used, and nothing may write it."""
