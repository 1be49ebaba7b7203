"""The two ways a tool call can fail so that the model may mend it."""

from __future__ import annotations


class ToolInputError(Exception):
    """The model's arguments do not fit the tool; the tool was not run.

    `message_for_model` says which field is wrong, what was got and what is expected.
    """

    def __init__(self, message_for_model: str, tool: str = "") -> None:
        super().__init__(message_for_model, tool)
        self.message_for_model = message_for_model
        self.tool = tool

    def __str__(self) -> str:
        return self.message_for_model


class ToolFailure(Exception):  # noqa: N818 - a tool's author raises it on purpose: a result, not a bug
    """Raise it in a tool to tell the model, in your own words, that the call did not work.

    The run goes on; any other exception counts as the tool's own fault and becomes a `ToolError`.
    """

    def __init__(self, message_for_model: str) -> None:
        super().__init__(message_for_model)
        self.message_for_model = message_for_model
