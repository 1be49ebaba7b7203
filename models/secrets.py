"""Where providers' keys and addresses are read from: the environment, files that it names, `.env` files.

Read by whoever starts the gateway, to be handed to its process alone; nothing is put into `os.environ`, where
agents and their tools would find it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from callsheet.core.errors import SettingsError
from callsheet.models.catalogue import PROVIDERS

KEYS = tuple(info.key_env for info in PROVIDERS.values() if info.key_env)
"""Environment variables that hold keys."""

KEY_FILES = tuple(f"{name}_FILE" for name in KEYS)
"""Environment variables that name a file with a key in it, as container platforms mount secrets."""

ADDRESSES = tuple(info.url_env for info in PROVIDERS.values() if info.url_env)

MAX_BYTES = 64 * 1024


def provider_environ(environ: Mapping[str, str], folders: Iterable[Path]) -> dict[str, str]:
    """Keys and addresses by the names of their variables; no other variable is in it.

    Of each the first that there is: the variable; the file that `NAME_FILE` names (keys alone); the `.env` files
    of `folders`, in their order, which may hold both kinds. Raises SettingsError for a file that cannot be read
    or that holds no key; its content is in no message.
    """
    files: dict[str, str] = {}
    for folder in folders:
        for name, value in _dotenv(folder / ".env").items():
            files.setdefault(name, value)
    found: dict[str, str] = {}
    for name in (*KEYS, *ADDRESSES):
        if environ.get(name, "").strip():
            found[name] = environ[name]
            continue
        file = f"{name}_FILE"
        # What the environment names comes before what a `.env` holds.
        if name in KEYS and environ.get(file, "").strip():
            found[name] = _secret(file, environ[file])
        elif files.get(name, "").strip():
            found[name] = files[name]
        elif name in KEYS and files.get(file, "").strip():
            found[name] = _secret(file, files[file])
    return found


def _secret(variable: str, path: str) -> str:
    text = _read(Path(path.strip()).expanduser(), variable).strip()
    if not text or "\n" in text:
        what = "is empty" if not text else "holds more than one line"
        raise SettingsError(
            f"the file that {variable} names {what}: {path}", hint="It must hold the key and nothing else."
        )
    return text


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from io import StringIO

    from dotenv import dotenv_values

    # Without interpolation: a key with a $ in it is a key.
    values = dotenv_values(stream=StringIO(_read(path, "the .env file")), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(
            f"{what}: {path} cannot be read ({reason})", hint="Correct the path, or the file's permissions."
        ) from None
