"""What in a value does not fit a JSON Schema. Also a program: a scorer runs it where an answer may take long.

As a program it reads `[schema, value]` and writes what `faults` gives, both as JSON; so it imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

SHOWN = 3
"""Faults that are told one by one."""


def validator(schema: Any) -> Any:
    """The validator of the draft that `$schema` names, else 2020-12. Raises jsonschema.SchemaError."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(schema, default=Draft202012Validator)
    kind.check_schema(schema)
    # With a registry of our own a `$ref` to an address fails, where the default one would fetch it.
    return kind(schema, registry=Registry())


def faults(schema: Any, value: Any) -> Mapping[str, Any]:
    """`{"shown": [text, …], "count": n}`, or `{"unusable": why}` of a schema whose references lead nowhere."""
    from referencing.exceptions import Unresolvable

    try:
        found = sorted(validator(schema).iter_errors(value), key=lambda fault: fault.json_path)
    except (Unresolvable, RecursionError) as error:
        return {"unusable": str(error)}
    shown = [f"{fault.json_path}: {fault.message[:200]}" for fault in found[:SHOWN]]
    return {"shown": shown, "count": len(found)}


if __name__ == "__main__":
    json.dump(faults(*json.load(sys.stdin)), sys.stdout)
