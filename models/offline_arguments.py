"""Arguments of a tool call, read out of the task by the tool's schema.

Nothing is invented: a value comes from the task, or from the schema (a default, a constant). Where a
required one is in neither, the call cannot be filled.
"""

from __future__ import annotations

import re
from typing import Any

from callsheet.models.offline_schema import bounded, in_length, properties, required, resolve
from callsheet.models.offline_text import keywords, name_words, stem, stem_set, word_set, words

LONGEST_TASK = 4_000
"""Characters of the task that are searched for arguments."""

QUERY_NAMES = stem_set("query question q search keyword text prompt topic subject term input request")
_WHOLE_TASK = stem_set("query question q search keyword prompt input request message task")
_ID_NAMES = stem_set("id number no nr num code key sku reference ref ticket identifier isbn zip")
_PLACES = stem_set("city location place town country region destination origin area")
_NAMED = stem_set("name person author company product customer user brand title owner employee")
_TOPICS = stem_set("topic subject theme text term content word phrase")

_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,9})?(?!\w)")
_IDENTIFIER = re.compile(r"(?<![\w./-])#?([A-Za-z]{0,10}[-_]?\d[\w-]{0,40})(?![\w/])")
_URL = re.compile(r"https?://[^\s<>\"')\]]{1,2000}")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}")
_PATH = re.compile(r"(?<![\w/.])(?:[\w.-]{1,100}/){0,10}[\w-]{1,100}\.[A-Za-z]\w{0,7}(?![\w/])")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_QUOTED = re.compile(r"[\"“«„']([^\"“”«»„']{1,300})[\"”»“'](?!\w)")
_PROPER = re.compile(r"\b[A-ZÀ-Þ][\w'’-]{0,40}(?:\s(?:(?:of|de|la|van|der)\s)?[A-ZÀ-Þ][\w'’-]{0,40}){0,4}")
_AFTER_PLACE = re.compile(
    r"\b(?:in|at|from|to|for|near|of)\s+(?:the\s+)?([A-ZÀ-Þ][^\W\d_]*(?:[ -][A-ZÀ-Þ][^\W\d_]*){0,3})"
)
_ABOUT = re.compile(r"\b(?:about|on|regarding|concerning|of)\s+(.{2,120}?)(?:[.?!;]|$)", re.IGNORECASE)
_SUM = re.compile(r"[-(]?\d[\d\s.,()]*(?:[-+*/^%×÷][\s(-]*\d[\d\s.,()]*){1,40}")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def fill(schema: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """Argument objects for a tool, from the task: one as a rule, several where one argument is wanted and
    the task names several values for it.

    Empty where a required argument is not to be had. No two arguments take the same words of the task.
    """
    task = task[:LONGEST_TASK]
    root = schema
    schema = resolve(schema, root)
    fields = properties(schema)
    needed = required(schema)
    values: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    taken: set[str] = set()
    resolved = {name: resolve(raw, root) for name, raw in fields.items()}
    # What can only be one of a few words has the first choice of the task's words.
    for name in sorted(resolved, key=lambda name: "enum" not in resolved[name]):
        one = len(needed) == 1
        found = _values(name, resolved[name], task, root, needed=name in needed, alone=one)
        found = [value for value in found if not (isinstance(value, str) and value.casefold() in taken)]
        if not found:
            if name in needed:
                return []
            continue
        values[name] = found[0]
        if isinstance(found[0], str):
            taken.add(found[0].casefold())
        if len(found) > 1 and one and name in needed:
            several[name] = found[:4]
    if any(name not in values for name in needed):
        return []
    return [{**values, name: option} for name, options in several.items() for option in options] or [values]


def is_query_like(name: str) -> bool:
    """Whether an argument of that name takes a question or search words."""
    return bool(QUERY_NAMES & set(name_words(name)))


def _values(
    name: str, field: dict[str, Any], task: str, root: dict[str, Any], *, needed: bool, alone: bool
) -> list[Any]:
    if "const" in field:
        return [field["const"]]
    if isinstance(field.get("enum"), list) and field["enum"]:
        return _from_enum(field, task, needed=needed)
    kind = field.get("type")
    found: list[Any]
    if kind in ("integer", "number"):
        found = _numbers(name, field, task, whole=kind == "integer", alone=needed and alone)
    elif kind == "boolean":
        found = _truth(name, task) if set(keywords(name.replace("_", " "))) & set(keywords(task)) else []
        if not found and needed and "default" not in field:
            found = [False]
    elif kind == "array":
        found = _items(name, field, task, root, needed=needed)
    elif kind == "object":
        inner = fill({**field, "$defs": root.get("$defs", {})}, task) if needed else []
        found = inner[:1]
    elif kind == "null":
        found = [None]
    else:
        found = [in_length(text, field) for text in _texts(name, field, task, needed=needed, alone=alone)]
    if not found and needed and "default" in field:
        return [field["default"]]
    return found


def _from_enum(field: dict[str, Any], task: str, *, needed: bool) -> list[Any]:
    present = words(task)
    for option in field["enum"]:
        wanted = name_words(option) if isinstance(option, str) else words(str(option))
        if wanted and all(word in present for word in wanted):
            return [option]
    if not needed:
        return []
    if "default" in field:
        return [field["default"]]
    return field["enum"][:1] if len(field["enum"]) == 1 else []


def _numbers(name: str, field: dict[str, Any], task: str, *, whole: bool, alone: bool) -> list[Any]:
    task = _THOUSANDS.sub("", task)
    near = [text for text in _near(name, task) if _NUMBER.fullmatch(text)]
    if not near and alone:  # one number is wanted, and the task has one
        near = _NUMBER.findall(task)[:1] if len(set(_NUMBER.findall(task))) == 1 else []
    found = []
    for text in near:
        value = float(text)
        if (not whole or value == int(value)) and bounded(value, field, whole=whole) == value:
            found.append(int(value) if whole else value)
    return list(dict.fromkeys(found))


def _near(name: str, task: str) -> list[str]:
    """What looks like an id or a number right after a word of the name: `order 17`, `order #17 and 18`."""
    found: list[str] = []
    stems = [word for word in name_words(name) if word not in _ID_NAMES and len(word) > 1] or name_words(name)
    tokens = re.findall(r"#?-?[\w./-]*\w|[,;&]", task)
    for position, token in enumerate(tokens):
        if stem(token.casefold()) not in stems:
            continue
        for following in tokens[position + 1 : position + 9]:
            text = following.lstrip("#")
            if any(char.isdigit() for char in text) and len(text) <= 50:
                found.append(text)
            elif following.casefold() not in _LINKS:
                break
    return list(dict.fromkeys(found))


_LINKS = word_set("number no nr num id code is and or , ; & with the of the ids numbers reference")


def _truth(name: str, task: str) -> list[bool]:
    lowered = f" {task.casefold()} "
    first = next((word for word in re.findall(r"[a-z]+", name.casefold()) if len(word) > 2), "")
    place = lowered.find(first)
    before = lowered[max(0, place - 15) : place]
    return [not re.search(r"\b(?:no|not|without|don't|dont|never)\b", before)]


def _items(name: str, field: dict[str, Any], task: str, root: dict[str, Any], *, needed: bool) -> list[Any]:
    item = resolve(field.get("items"), root)
    if isinstance(item.get("enum"), list):
        present = words(task)
        options = [option for option in item["enum"] if set(words(str(option))) <= set(present)]
    elif item.get("type") in ("integer", "number"):
        numbers = [float(text) for text in _NUMBER.findall(_THOUSANDS.sub("", task))]
        whole = item["type"] == "integer"
        options = [int(n) if whole else n for n in numbers if not whole or n == int(n)]
    elif item.get("type") == "string":
        options = _QUOTED.findall(task) or _near(name, task)
        if not options and needed and is_query_like(name):
            options = [task]
    else:
        options = []
    most = field.get("maxItems")
    options = options[:most] if isinstance(most, int) else options
    least = field.get("minItems", 0)
    return [options] if options and len(options) >= (least if isinstance(least, int) else 0) else []


def _texts(name: str, field: dict[str, Any], task: str, *, needed: bool, alone: bool) -> list[str]:
    named = set(name_words(name))
    if field.get("format") in ("uri", "url") or named & {"url", "link", "uri", "href"}:
        return _URL.findall(task)[:1]
    if field.get("format") == "email" or "email" in named:
        return _EMAIL.findall(task)[:1]
    if field.get("format") == "date" or named & {"date", "day"}:
        return _DATE.findall(task)[:1]
    if named & {"path", "file", "filename"}:
        return [text for text in _PATH.findall(_URL.sub(" ", task)) if not _NUMBER.fullmatch(text)][:1]
    if named & {"expression", "formula", "calculation", "sum"}:
        return [match.strip() for match in _SUM.findall(task)][:1]
    near = _near(name, task)
    if near and (named & _ID_NAMES or len(near) == 1):
        return near
    if named & _ID_NAMES:
        found = list(dict.fromkeys(_IDENTIFIER.findall(task)))
        return found if len(found) == 1 and alone else []
    if not needed:
        return []
    return _free_text(named, task, alone=alone)


def _free_text(named: set[str], task: str, *, alone: bool) -> list[str]:
    if named & _WHOLE_TASK:
        return [task.strip()] if task.strip() else []
    places = list(dict.fromkeys(_AFTER_PLACE.findall(task))) if named & _PLACES else []
    if places:
        return places
    quoted = _QUOTED.findall(task)
    if quoted:
        return [text.strip() for text in quoted]
    if named & _PLACES or named & _NAMED:
        return _propers(task)
    about = _ABOUT.search(task)
    if named & _TOPICS:
        return [about.group(1).strip()] if about else [task.strip()]
    if alone:  # one thing is wanted, and the task names one thing
        names = _propers(task)
        return names[:1] or ([about.group(1).strip()] if about else [])
    return []


def _propers(task: str) -> list[str]:
    found = []
    for match in _PROPER.finditer(task):
        text = match.group()
        first, _, rest = text.partition(" ")
        if keywords(first) and (match.start() > 0 or len(text.split()) > 1):
            found.append(text)
        elif rest and not keywords(first):
            found.append(rest)  # "Is Ada Lovelace …"
    return list(dict.fromkeys(found))
