"""Parameter descriptions are read from the three common styles of docstring."""

from __future__ import annotations

import pytest

from callsheet.tools.docstrings import read_docstring

GOOGLE = """Summary line
goes on.

More.

Args:
    city (str): Where: the city's name
        in any language.

    days: How many.

Returns:
    result: not a parameter.
"""
NUMPY = """
Summary line
goes on.

Parameters
----------
city : str
    Where: the city's name
    in any language.
days : int, optional
    How many.

Returns
-------
result : str
    Not a parameter.
"""
SPHINX = """
Summary line
goes on.

:param str city: Where: the city's name
    in any language.
:param days: How many.
:return: not a parameter.
:rtype: str
"""


@pytest.mark.parametrize("doc", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_summary_and_parameters(doc: str) -> None:
    assert read_docstring(doc) == (
        "Summary line goes on.",
        {"city": "Where: the city's name in any language.", "days": "How many."},
    )


def test_two_numpy_parameters_may_share_a_description() -> None:
    doc = "S.\n\nParameters\n----------\na, b : int\n    Both.\n"
    assert read_docstring(doc)[1] == {"a": "Both.", "b": "Both."}


@pytest.mark.parametrize("doc", ["Summary.\n:param a: x", "Summary.\nArgs:\n    a: x"])
def test_a_summary_ends_where_the_parameters_begin(doc: str) -> None:
    assert read_docstring(doc) == ("Summary.", {"a": "x"})


@pytest.mark.parametrize("doc", [None, "", "\n\n"])
def test_no_docstring_has_no_summary(doc: str | None) -> None:
    assert read_docstring(doc) == ("", {})
