"""`choice`: which of a few options an answer in free text picks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from callsheet.scenarios.scorers.answers import AnswerScorer, end_of
from callsheet.scenarios.scorers.base import Score, right, wrong

_LETTERS = tuple("ABCDEFGHIJ")
_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_OPPOSITE = {"yes": "no", "no": "yes"}
_MARKS = "*_`\"'“”‘’()[]{}$"
_OPEN = r"[*_`\"'“”‘’(\[{$]{0,8}(?:\\(?:text|mathbf|textbf)\{)?"
_CLOSE = r"[*_`\"'“”‘’)\]}$]{0,8}"
# "The answer is", "Answer:", "final choice =", "I choose", "\boxed{". Repeats are bounded: the text is a stranger's.
_LEAD = (
    r"(?:\b(?:answer|choice|option|conclusion|verdict)[ *_]{0,4}(?:is|are|would be|should be|=|:)[ *_:]{0,6}"
    r"|\b(?:i|we) (?:would )?(?:choose|pick|select|go with) |\\boxed ?\{ ?|#### ?)"
    r"(?:(?:option|choice|letter|answer|clearly|therefore|definitely|probably|simply)[ :]{1,3}){0,3}"
)
_MORE = r" ?(?:,|/|&|\bor\b|\band\b) ?(?:option )?"
_LONGEST_ALONE = 200


class Choice(AnswerScorer):
    """The answer picks the expected option: a letter A to J, or yes or no (true and false are the same).

    `choices` names options of your own instead. Looked for, in this order: the option alone; one that is stated
    ("the answer is B", "\\boxed{B}"); one at the beginning of a line ("B) Paris", "Yes, because"); the only one
    that is mentioned at all. Where the first of these that finds any finds several, the answer is ambiguous, and
    so wrong.
    """

    use = "choice"
    form = "a letter A to J, yes or no, true or false, or one of the scorer's choices"

    def __init__(self, *, choices: Sequence[str] = (), **where: str) -> None:
        super().__init__(**where)
        listed = not isinstance(choices, str) and isinstance(choices, Sequence)
        if not listed or any(not isinstance(item, (str, bool)) for item in choices) or len(choices) == 1:
            raise self.misuse(f"choices is {choices!r}", "It is a list of two or more texts.")
        names = [_named(item) for item in choices]
        plain = [name.casefold().strip() for name in names]
        if len(set(plain)) < len(plain) or "" in plain:
            raise self.misuse(f"choices is {choices!r}", "Each is another text, and none is empty.")
        self._words = _Words({name: name.strip() for name in plain}) if plain else None

    def check_expected(self, expected: Any) -> None:
        """Takes one of the options."""
        if self._reader(expected) is None:
            raise self.misfit(expected)

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if the answer picks that option and no other."""
        reader = self._reader(expected)
        if reader is None:
            raise self.misfit(expected)
        found = reader.picked(end_of(answer))
        wanted = reader.canonical(_named(expected))
        if found == {wanted}:
            return right()
        if not found:
            return wrong("no option found in the answer")
        if len(found) > 1:
            return wrong(f"ambiguous: {', '.join(sorted(found))}")
        return wrong(f"{found.pop()} is not {wanted}")

    def _reader(self, expected: Any) -> _Options | None:
        if not isinstance(expected, (str, bool)):
            return None
        named = _named(expected)
        readers = (self._words,) if self._words else (_YES, _LETTER)
        return next((reader for reader in readers if reader.canonical(named)), None)


class _Options:
    """A set of options, and how they are found in text."""

    def __init__(self, one: str, flags: re.RegexFlag) -> None:
        picked = f"{_OPEN}(?P<one>{one}){_CLOSE}"
        self._alone = re.compile(rf"\W*?(?:(?i:option|choice|answer)\W+)?{picked}\W*", flags | re.IGNORECASE)
        more = f"(?i:{_MORE}){_OPEN}{one}{_CLOSE}"
        self._stated = re.compile(rf"(?i:{_LEAD}){picked}(?P<more>(?:{more}){{0,9}})", flags)
        self._begins = re.compile(rf"^[ >#*_-]{{0,20}}{picked} ?(?:[).:,;!—–]|- |$)", flags | re.MULTILINE)
        self._one = re.compile(one, flags)

    def canonical(self, written: str) -> str | None:
        """The option that a text is, or None."""
        raise NotImplementedError

    def mentioned(self, text: str) -> set[str]:
        """The options that a text mentions anywhere."""
        raise NotImplementedError

    def picked(self, text: str) -> set[str]:
        """The options that an answer picks, by the first way that finds any."""
        text = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
        alone = self._alone.fullmatch(text) if len(text) <= _LONGEST_ALONE else None
        if alone:
            return self._found([alone.group("one")])
        stated = [
            one
            for match in self._stated.finditer(text)
            for one in (match.group("one"), *self._one.findall(match.group("more")))
        ]
        begun = [match.group("one") for match in self._begins.finditer(text)]
        return self._found(stated) or self._found(begun) or self.mentioned(text)

    def _found(self, written: list[str]) -> set[str]:
        return {option for option in map(self.canonical, written) if option}


class _Letters(_Options):
    def __init__(self) -> None:
        # "A" and "I" before another word are an article and a pronoun, but not in "A because".
        letter = r"(?:[B-HJ]|[AI](?!\s+(?!because|since|as|and|or|is|for|with)[a-z]))"
        super().__init__(rf"(?<![\w'’]){letter}(?![\w'’])", re.NOFLAG)
        self._bare = re.compile(rf"(?<![\w'’.-]){letter}(?![\w'’-])")

    def canonical(self, written: str) -> str | None:
        letter = written.strip().strip(_MARKS).rstrip(".):").upper()
        return letter if letter in _LETTERS else None

    def mentioned(self, text: str) -> set[str]:
        return self._found([match.group() for match in self._bare.finditer(text) if match.group() != "I"])


class _YesNo(_Options):
    def __init__(self) -> None:
        one = r"(?<!\w)(?:not (?:true|false)|yes|no|true|false)(?!\w)"
        super().__init__(one, re.IGNORECASE)
        # "No evidence was found" and "there is no reason" are no answers; "No, it was not" and "no." are.
        ended = r"(?= ?(?:[^\w\s]|\n|\Z)| (?:it|they|he|she|we|i|because|since|as|that|this|there)\b)"
        self._begins = re.compile(
            rf"^[ >#*_-]{{0,20}}{_OPEN}(?P<one>{one}){ended}", re.IGNORECASE | re.MULTILINE
        )
        self._any = re.compile(rf"{one}(?= ?(?:[^\w\s]|\n|\Z))", re.IGNORECASE)

    def canonical(self, written: str) -> str | None:
        words = written.casefold().strip().strip(_MARKS).split()
        if len(words) == 2 and words[0] == "not":
            found = _YES_NO.get(words[1])
            return _OPPOSITE[found] if found else None
        return _YES_NO.get(words[0].rstrip(".!")) if len(words) == 1 else None

    def mentioned(self, text: str) -> set[str]:
        return self._found(self._any.findall(text))


class _Words(_Options):
    def __init__(self, options: dict[str, str]) -> None:
        longest = sorted(options, key=len, reverse=True)  # "very good" before "good"
        one = rf"(?<!\w)(?:{'|'.join(re.escape(option) for option in longest)})(?!\w)"
        super().__init__(one, re.IGNORECASE)
        self._options = options

    def canonical(self, written: str) -> str | None:
        return self._options.get(written.casefold().strip())

    def mentioned(self, text: str) -> set[str]:
        return self._found(self._one.findall(text))


def _named(option: str | bool) -> str:
    # YAML reads yes and no as booleans.
    return option if isinstance(option, str) else ("yes" if option else "no")


_LETTER, _YES = _Letters(), _YesNo()
