"""Finding a crew by what a person writes: a file, a module, or a name.

A crew file is a Python file with a `Crew` in it. It is run under a module name of its own, with its folder
on `sys.path` as if Python had been started with it, so that it can import what lies beside it. Ray's
workers know none of these modules: the crew carries their names, and they travel by value.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from callsheet.core.canonical import digest
from callsheet.core.errors import CallsheetError, CrewFileError, unknown_name
from callsheet.crews.crew import Crew
from callsheet.crews.flow import flow_input
from callsheet.crews.launched import LaunchedCrew
from callsheet.crews.portal import LOADING, portal
from callsheet.crews.ready import find_crew, ready_crews
from callsheet.crews.system import Progress, ray_address, shared_system
from callsheet.settings import Settings

_AN_EXAMPLE = 'crew = Crew("helpdesk", agents=[Agent("clerk", role="You answer questions.")])'


def load_crew(ref: str) -> Crew:
    """The crew that `ref` names: `file.py[:name]`, `package.module:name`, or a ready-made one.

    Raises CrewFileError for a file or module that cannot be loaded or holds no such crew, with the line
    where it fails, and UnknownNameError for a name that no ready-made crew has.
    """
    if is_place(ref):
        source, name = _split(ref)
        if source.endswith(".py") or os.sep in source or Path(source).exists():
            return load_file(Path(source)).at(name)
        return load_module(source).at(name)
    return find_crew(ref)


def resolve_crew(
    ref: str, settings: Settings, *, inline: bool = False, progress: Progress = lambda _: None
) -> Crew | LaunchedCrew:
    """As `load_crew`, but a name may also be that of a crew that serves on the cluster, which comes first.

    The cluster is asked where one is known (see `ray_address`), and never for `inline`. Raises as
    `load_crew`, and ClusterError where the cluster cannot be reached.
    """
    if is_place(ref):
        return load_crew(ref)
    launched: tuple[str, ...] = ()
    if not inline:
        launched = tuple(launch["name"] for launch in launched_crews(settings, progress))
    if ref in launched:
        return LaunchedCrew(ref, settings)
    if ref in ready_crews():
        return load_crew(ref)
    there = Path(f"{ref}.py")
    hint = (
        f"The file is given as {there}." if there.exists() else "A file is given as path/to/file.py[:name]."
    )
    raise unknown_name("crew", ref, tuple(dict.fromkeys((*ready_crews(), *launched))), hint=hint)


def launched_crews(settings: Settings, progress: Progress = lambda _: None) -> list[dict[str, Any]]:
    """The crews that serve on the cluster, as plain data; none where no cluster is known.

    Raises ClusterError where the cluster cannot be reached.
    """
    return [] if ray_address(settings) is None else portal().run(_launches(settings, progress))


async def _launches(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    system = await shared_system(settings, "ray", progress)
    found: list[dict[str, Any]] = await system.host.client.query("launches")
    return found


def takes_text(crew: Crew, text: str) -> bool:
    """Whether the crew's flow can be given that text as it is; what cannot be is given as JSON."""
    wanted = flow_input(crew._flow)  # noqa: SLF001 - of this package
    if wanted is None:
        return True
    try:
        wanted.value(text)
    except ValidationError:
        return False
    return True


def is_place(ref: str) -> bool:
    """Whether `ref` names a file or a module, rather than a crew that is known by its name."""
    return ":" in ref or ref.endswith(".py") or os.sep in ref


def _split(ref: str) -> tuple[str, str]:
    # The last colon, and only before a name: a path may have colons of its own.
    source, colon, name = ref.rpartition(":")
    if colon and name.isidentifier() and os.sep not in name:
        return source, name
    return ref.removesuffix(":"), ""


# --- files and modules -----------------------------------------------------------------------------------


class Loaded:
    """A crew file or module that was run, and the crews in it."""

    def __init__(self, module: ModuleType, shown: str, path: Path | None = None) -> None:
        self._module, self._shown, self._path = module, shown, path
        self._crews = {key: value for key, value in vars(module).items() if isinstance(value, Crew)}

    def at(self, name: str) -> Crew:
        """The crew in the variable of that name; without a name, the only one. Raises CrewFileError."""
        return self.ready(_pick(self._module, self._crews, name, self._shown))

    def called(self, name: str) -> Crew:
        """The crew whose own name that is, whatever variable holds it. Raises CrewFileError."""
        found = list({id(crew): crew for crew in self._crews.values() if crew.name == name}.values())
        if len(found) == 1:
            return self.ready(found[0])
        if found:
            raise CrewFileError(
                f"{self._shown} has {len(found)} crews called {name!r}", path=self._shown,
                hint="Give each a name of its own.",
            )  # fmt: skip
        there = ", ".join(sorted({crew.name for crew in self._crews.values()}))
        raise CrewFileError(
            f"{self._shown} has no crew called {name!r} any more", path=self._shown,
            hint=(f"It has: {there}. " if there else "")
            + f"A crew that is to be found again stands in a variable at the top level of its file: "
            f"crew = Crew({name!r}, …).",
        )  # fmt: skip

    @property
    def module(self) -> ModuleType:
        """The module itself, for what else may be in it."""
        return self._module

    def ready(self, crew: Crew) -> Crew:
        """The crew, with what it takes to run it in other processes."""
        if self._path is not None:
            crew.folder = self._path.parent
            crew.modules = (self._module.__name__, *_beside(self._path.parent))
        return crew


def load_file(path: Path) -> Loaded:
    """Run a crew file. Raises CrewFileError, with the line where it fails."""
    shown = str(path)
    try:
        path = path.resolve()
        source = path.read_bytes()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise CrewFileError(
            f"the crew file {shown} does not exist" if missing else f"the crew file {shown} cannot be read: {error}",
            path=shown, hint=f"Check its spelling; relative paths start at {Path.cwd()}.",
        ) from None  # fmt: skip
    module_name = f"crewfile_{digest(str(path))[:8]}_{''.join(c if c.isalnum() else '_' for c in path.stem)}"
    spec = importlib.util.spec_from_loader(module_name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[module_name] = module
    loading = LOADING.set(shown)
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - that is what a crew file is for
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise _explained(error, shown, str(path)) from error
    finally:
        LOADING.reset(loading)
    return Loaded(module, shown, path)


def load_module(source: str) -> Loaded:
    """Import a module that has crews. Raises CrewFileError."""
    # As `python -m` does; Ray gives its workers the working folder too.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(source)
    except (ImportError, ValueError):
        found = None
    except (Exception, SystemExit) as error:  # a parent package is run by this
        raise _explained(error, source, "") from error
    if found is None:
        raise CrewFileError(
            f"there is no module {source!r}", path=source,
            hint=f"Install it, or start from the folder it is in (this is {Path.cwd()}); a file is given as "
            "path/to/file.py[:name].",
        )  # fmt: skip
    try:
        module = importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise _explained(error, source, found.origin or "") from error
    return Loaded(module, source)


def _pick(module: ModuleType, crews: dict[str, Crew], name: str, shown: str) -> Crew:
    if name:
        if name in crews:
            return crews[name]
        there = getattr(module, name, None)
        told = f"There is: {', '.join(crews)}." if crews else f"Define one, such as: {_AN_EXAMPLE}"
        raise CrewFileError(
            f"{shown} has no crew called {name!r}"
            + (f" (it is of the type {type(there).__name__})" if there is not None else ""),
            path=shown, hint=told,
        )  # fmt: skip
    different = list({id(crew): key for key, crew in reversed(crews.items())}.values())
    if not different:
        raise CrewFileError(
            f"there is no crew in {shown}", path=shown, hint=f"Define one, such as: {_AN_EXAMPLE}"
        )
    if len(different) > 1:
        names = sorted(different, key=list(crews).index)
        raise CrewFileError(
            f"there are {len(names)} crews in {shown}: {', '.join(names)}",
            path=shown, hint=f"Say which, such as {shown}:{names[0]}.",
        )  # fmt: skip
    return crews[different[0]]


# --- what goes wrong in it -------------------------------------------------------------------------------


def _explained(error: BaseException, shown: str, path: str) -> CrewFileError:
    if isinstance(error, SyntaxError):
        where = shown if error.filename in (path, None) else error.filename
        line = (error.text or "").strip()
        return CrewFileError(
            f"{where}, line {error.lineno or 1}: {type(error).__name__}: {error.msg}", path=shown,
            hint=f"The line reads: {line}" if line else "Mend that line.",
        )  # fmt: skip
    place = _place(error, path)
    where = f"{shown}, line {place.lineno}" if place is not None else shown
    if isinstance(error, CallsheetError):
        return CrewFileError(f"{where}: {error.message}", path=shown, hint=error.hint)
    if isinstance(error, SystemExit):
        what, hint = "the file ends the program while it is loaded", _GUARD
    elif isinstance(error, ModuleNotFoundError):
        what, hint = str(error), "Install what it imports into callsheet's environment, or correct the name."
    else:
        what, hint = (
            f"{type(error).__name__}: {error}",
            "Mend the file; CALLSHEET_DEBUG=1 shows the whole traceback.",
        )
    if place is not None and place.line:
        what = f"{what} (in: {place.line})"
    return CrewFileError(f"{where}: {what}", path=shown, hint=hint)


_GUARD = 'Put what is to happen only when the file itself is run below `if __name__ == "__main__":`.'


def _place(error: BaseException, path: str) -> traceback.FrameSummary | None:
    """Where in the file it happened: the innermost of the file's own lines."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return frames[-1] if frames else None


# --- what lies beside it ---------------------------------------------------------------------------------


def _beside(folder: Path) -> tuple[str, ...]:
    """The modules of the author's own that lie in or below the file's folder and are loaded by now."""
    own = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name in ("__main__", "callsheet") or name.startswith("callsheet."):
            continue
        parts = Path(file).parts
        if "site-packages" in parts or name.startswith("crewfile_") or not Path(file).is_relative_to(folder):
            continue
        if Path(file).is_relative_to(sys.prefix) or Path(file).is_relative_to(sys.base_prefix):
            continue
        own.append(name)
    return tuple(own)
