"""YAML as suites are written in: plain data with the lines it stands on, and no surprises among its words.

By YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): `yes`, `no`, `on`, `12:30` and
`2024-05-01` are texts, as whoever writes an expected answer means them. A key that stands twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from callsheet.core.errors import SuiteError

MAX_NODES = 5_000_000
"""Values in a file once its aliases are followed; a few lines of aliases could stand for billions.

A text counts as one more for each 100 characters, since aliases multiply long ones too."""


def read_yaml(path: Path, text: str) -> tuple[Any, dict[int, int]]:
    """The value of a YAML text, and the line (from 1) of each mapping and list in it by its `id()`.

    Raises SuiteError with the line of what is no YAML.
    """
    import yaml

    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _check_size(path, node)
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise SuiteError(
            f"{path}{where}: this is not YAML: {error.problem or error.context}", path=str(path),
            hint='Look at its indentation; texts that hold : or #, and questions within {…}, are written in "quotes".',
        ) from None  # fmt: skip
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SuiteError(
            f"{path}: this is not YAML: {str(error).splitlines()[0]}", path=str(path),
            hint="Give a plain text file with the suite's fields.",
        ) from None  # fmt: skip
    finally:
        loader.dispose()
    return value, loader.lines


def _check_size(path: Path, node: Any) -> None:
    """Refuses what aliases make of a file: more values than anybody writes, or values within themselves."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(part: Any) -> int:
        if not isinstance(part.value, list):
            return 1 + len(part.value) // 100
        if id(part) in open_nodes:
            raise _too_much(path, part, "a value that holds itself")
        if id(part) not in sizes:
            open_nodes.add(id(part))
            total = 1
            for item in part.value:
                total += sum(map(size, item)) if isinstance(item, tuple) else size(item)
            open_nodes.discard(id(part))
            sizes[id(part)] = total
        if sizes[id(part)] > MAX_NODES:
            raise _too_much(path, part, f"more than {MAX_NODES:,} values, or texts of that many lines")
        return sizes[id(part)]

    size(node)


def _too_much(path: Path, node: Any, what: str) -> SuiteError:
    return SuiteError(
        f"{path}, line {node.start_mark.line + 1}: its aliases stand for {what}", path=str(path),
        hint="Write the values out, or keep the cases in a .jsonl file.",
    )  # fmt: skip


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """SafeLoader with the core schema's words, unique keys, and lines."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - that is how yaml keeps them

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self.lines: dict[int, int] = {}

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            value = super().construct_object(node, deep=True)
            if isinstance(value, (dict, list)):
                self.lines[id(value)] = node.start_mark.line + 1
            return value

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key, _ in node.value:
                name = key.value if isinstance(key.value, str) else None
                if name is None:
                    raise yaml.constructor.ConstructorError(None, None, "a key is no text", key.start_mark)
                if name in seen and name != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {name!r} stands here twice", key.start_mark
                    )
                seen.add(name)
            found: dict[Hashable, Any] = super().construct_mapping(node, deep=True)
            return found

    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
        ("merge", r"<<", "<"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})\Z"), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
    return Loader


def _whole_number(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    # 012 is twelve by YAML 1.2, and not octal.
    return int(text, 16) if text.lower().startswith("0x") else int(text)
