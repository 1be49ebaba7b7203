"""Where a crew is defined, so that another process can load it again: days later, after a crash, on a look back.

A source is JSON text: `{"file": path, "crew": name}`, `{"module": dotted, "crew": name}` (with `"folder"`, from
which the module is imported, where that is not an installed one), `{"ready": name}`, or "" where nobody could
load it again: a notebook, a REPL, `python -c`.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import CrewFileError

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew

_OURS = "callsheet."
_CREW_FILE = "crewfile_"


def source_of_caller(frame: FrameType | None, crew: Crew) -> str:
    """The source of the code that makes this crew: the first frame, from this one up, outside its `__init__`."""
    while frame is not None and frame.f_code.co_name == "__init__" and _first_argument(frame) is crew:
        frame = frame.f_back
    return "" if frame is None else _source_of(frame.f_globals, crew.name)


def load_source(source: str) -> Crew:
    """The crew that lies at a source, loaded anew. It is found by its own name, whatever variable holds it.

    Raises CrewFileError where nothing tells where it is, where its file or module is gone or fails, and
    where no crew, or more than one, has the name there.
    """
    from callsheet.crews.loading import load_file, load_module
    from callsheet.crews.ready import ready_crews

    place = _place_of(source)
    if "ready" in place:
        found = ready_crews().get(place["ready"])
        if found is None:
            raise CrewFileError(
                f"callsheet has no ready-made crew {place['ready']!r} any more",
                hint="Use the version of callsheet that the run was started with.",
            )
        return found
    if "file" in place:
        loaded = load_file(Path(place["file"]))
    elif "module" in place:
        folder = place.get("folder")
        if folder is not None and folder not in sys.path:
            sys.path.append(folder)
        loaded = load_module(place["module"])
    else:
        raise CrewFileError(
            "nothing tells where the crew of the run is defined",
            hint="It was made in a notebook, a REPL or the like: go on from there, with the Crew that you "
            "have there, or name a file that defines the same crew.",
        )
    return loaded.called(place["crew"])


def _place_of(source: str) -> dict[str, str]:
    place: Any = None
    with contextlib.suppress(ValueError):
        place = from_json(source) if source else {}
    known = isinstance(place, dict) and all(isinstance(value, str) for value in place.values())
    if known and (not place or "crew" in place or "ready" in place):
        return dict(place)
    raise CrewFileError(
        f"this tells nothing of where a crew is defined: {source[:200]}",
        hint="Another version of callsheet may have written it: use that one.",
    )


def _first_argument(frame: FrameType) -> Any:
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if names else None


def _source_of(names: dict[str, Any], crew: str) -> str:
    name, file = names.get("__name__"), names.get("__file__")
    spec: Any = names.get("__spec__")
    if not isinstance(name, str):
        return ""
    if name.startswith(_OURS):
        return to_json({"ready": crew})
    if name == "__main__" and spec is not None and getattr(spec, "parent", None):
        name = spec.name  # python -m package.module: as a file it would lack its package
    elif name != "__main__" and not name.startswith(_CREW_FILE) and _is_module(name, names):
        spec = sys.modules[name].__spec__
    else:
        path = Path(file).absolute() if isinstance(file, str) else None
        return "" if path is None or not path.is_file() else to_json({"file": str(path), "crew": crew})
    place = {"module": name, "crew": crew}
    origin = getattr(spec, "origin", None)
    folder = None if not isinstance(origin, str) else _root_of(Path(origin), name)
    return to_json(place if folder is None else {**place, "folder": str(folder)})


def _is_module(name: str, names: dict[str, Any]) -> bool:
    module = sys.modules.get(name)
    return module is not None and vars(module) is names and getattr(module, "__spec__", None) is not None


def _root_of(origin: Path, name: str) -> Path | None:
    """The folder that the module's topmost package lies in; None for what is installed."""
    origin = origin.absolute()
    if {"site-packages", "dist-packages"} & set(origin.parts):
        return None
    depth = name.count(".") + (origin.stem == "__init__")
    return origin.parents[depth] if depth < len(origin.parents) else None


__all__ = ["load_source", "source_of_caller"]
