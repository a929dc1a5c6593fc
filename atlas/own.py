"""What a user has written, by name: ``mine.py:Thing`` is ``Thing`` in that file, ``mine.things:Thing`` in that module.

The present folder can be imported from, and so can the folder of a file.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from atlas.errors import ConfigError


def load_own(name: str) -> object:
    """What ``name`` names. Raises ConfigError where there is no such file, module or thing in it."""
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise ConfigError(f"{name!r} names nothing of yours: write FILE.py:NAME, or MODULE:NAME")
    module = _file(place) if place.endswith(".py") else _module(place)
    if not hasattr(module, attribute):
        close = difflib.get_close_matches(attribute, vars(module), n=1)
        raise ConfigError(f"{place} has no {attribute}" + (f": did you mean {close[0]}?" if close else ""))
    found: object = getattr(module, attribute)
    return found


def made(name: str, needs: Sequence[str], what: str, **options: object) -> object:
    """What ``name`` names, or what comes of calling it with ``options`` where it is a class or a function. ConfigError
    says that it is no ``what`` where it lacks one of the attributes ``needs``."""
    found = load_own(name)
    if inspect.isclass(found) or inspect.isfunction(found):
        try:
            inspect.signature(found).bind(**options)
        except TypeError as error:
            given = f"with {', '.join(options)}" if options else "without an argument"
            raise ConfigError(
                f"{name} is called {given}, which does not fit ({error}): name a function that makes the {what}"
            ) from error
        found = found(**options)
    if lacks := [need for need in needs if not hasattr(found, need)]:
        raise ConfigError(f"{name} is no {what}: it lacks {', '.join(lacks)}")
    return found


def is_module(name: str) -> bool:
    """Whether there is a module of that name, which has no dot."""
    _importable(Path.cwd())
    return name.isidentifier() and importlib.util.find_spec(name) is not None


def _module(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"there is no module {name}: it is looked for in {Path.cwd()} and among what is installed"
            ) from error
        raise _broken(name, error) from error
    except (ImportError, SyntaxError) as error:
        raise _broken(name, error) from error


def _file(text: str) -> ModuleType:
    path = Path(text).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {text}: it is looked for in {Path.cwd()}")
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    _importable(path.parent)
    _importable(Path.cwd())
    spec = importlib.util.spec_from_file_location(f"own.{path.stem}.{len(sys.modules)}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Before it runs: dataclasses look for their module.
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        del sys.modules[module.__name__]
        raise _broken(text, error) from error
    return module


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _broken(name: str, error: Exception) -> ConfigError:
    return ConfigError(f"{name} cannot be imported ({type(error).__name__}: {error}): mend it")
