"""Which error a failure becomes, whether it is tried again, and after how long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import (
    ModelAuthError,
    ModelError,
    ModelRateLimitError,
    ModelRequestError,
    ModelUnavailableError,
)
from callsheet.models.catalogue import PROVIDERS
from callsheet.models.http_errors import error_in_reply, redact, retry_after, status_error
from callsheet.models.retry import RetryPolicy, wait_before_retry, with_retries

NOW = 1_700_000_000.0


def failure(status: int, body: Any = None, headers: dict[str, str] | None = None) -> ModelError:
    url = "https://api.example.com/v1"
    return status_error(PROVIDERS["openai"], "m", status, headers or {}, body, url=url, now=NOW)


@pytest.mark.parametrize(
    ("status", "cls", "retryable"),
    [
        (400, ModelRequestError, False),
        (401, ModelAuthError, False),
        (402, ModelRateLimitError, False),
        (403, ModelAuthError, False),
        (404, ModelRequestError, False),
        (408, ModelUnavailableError, True),
        (409, ModelUnavailableError, True),
        (413, ModelRequestError, False),
        (422, ModelRequestError, False),
        (429, ModelRateLimitError, True),
        (500, ModelUnavailableError, True),
        (501, ModelUnavailableError, False),
        (503, ModelUnavailableError, True),
        (529, ModelUnavailableError, True),
    ],
)
def test_each_status_has_its_error(status: int, cls: type[ModelError], retryable: bool) -> None:
    error = failure(status, {"error": {"message": "why"}})
    assert type(error) is cls
    assert error.retryable is retryable
    assert error.status == status
    assert error.model == "openai/m"
    assert "why" in error.message
    assert error.hint


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "why"}},
        {"error": "why"},
        {"message": "why", "type": "x"},
        {"detail": "why"},
        [{"error": {"message": "why", "code": 400}}],
        "why",
        {"object": "error", "message": "why", "code": 400},
    ],
)
def test_the_message_is_found_whatever_the_shape(body: Any) -> None:
    assert "why" in failure(400, body).message


@given(
    st.integers(300, 599),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "message", "type"]), inner)
        ),
        max_leaves=6,
    ),
)
def test_no_body_breaks_the_reading_of_an_error(status: int, body: Any) -> None:
    error = failure(status, body)
    assert isinstance(error, ModelError)
    assert len(error.message) < 2000
    if isinstance(body, dict):
        error_in_reply(PROVIDERS["openai"], "m", body, url="http://x", now=NOW)


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"retry-after-ms": "0", "retry-after": "1"}, "", 1),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, "", 10),
        ({"retry-after": "Mon, 13 Nov 2023 22:13:30 GMT"}, "", 0),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-5"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({}, "Please try again in 976ms. Visit", 0.976),
        ({}, "Please try again in 26.604s.", 26.604),
        ({}, "Please try again in 1m9.696s.", 69.696),
        ({}, "Please try again in 2h3m0s.", 7380),
        ({}, "try again in a while", None),
        ({}, "", None),
    ],
)
def test_the_wait_asked_for_is_found(headers: dict[str, str], message: str, seconds: float | None) -> None:
    found = retry_after(headers, message, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_without_a_wait_it_is_the_reset_of_the_used_up_limit() -> None:
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:25Z",
        "anthropic-ratelimit-tokens-remaining": "10",
        "anthropic-ratelimit-tokens-reset": "2023-11-14T23:00:00Z",
    }
    assert retry_after(headers, "", NOW) == pytest.approx(5)


def test_what_looks_like_a_key_is_taken_out() -> None:
    text = redact("bad key sk-proj-abc123xyz and Bearer abc.def and plain-secret", "plain-secret")
    assert text == "bad key [key] and [key] and [key]"
    assert len(redact("x" * 9999)) < 600


def test_a_servers_message_cannot_steer_a_terminal() -> None:
    message = failure(400, {"error": {"message": "no\x1b[2Jthing\nhere"}}).message
    assert message.isprintable()


def error(**fields: Any) -> ModelError:
    return ModelUnavailableError("down", **fields)


POLICY = RetryPolicy(max_attempts=4, first_backoff_s=1.0, max_backoff_s=3.0, max_wait_s=60)


def test_backoff_doubles_to_its_bound_and_is_drawn_below_it() -> None:
    waits = [wait_before_retry(POLICY, attempt, error(), None, 0.5) for attempt in (1, 2, 3)]
    assert waits == [0.5, 1.0, 1.5]


def test_the_wait_asked_for_is_the_least() -> None:
    assert wait_before_retry(POLICY, 1, error(retry_after_s=10.0), None, 0.0) == 10.0
    later = wait_before_retry(POLICY, 1, error(retry_after_s=10.0), None, 0.99)
    assert later is not None
    assert 10 < later < 11


@pytest.mark.parametrize(
    ("attempt", "fields", "left"),
    [
        (4, {}, None),
        (1, {"retryable": False}, None),
        (1, {"retry_after_s": 61.0}, None),
        (1, {"retry_after_s": 5.0}, 4.0),
        (1, {}, 0.0),
        (1, {}, -1.0),
    ],
)
def test_what_is_not_worth_another_attempt_is_not_waited_for(
    attempt: int, fields: dict[str, Any], left: float | None
) -> None:
    assert wait_before_retry(POLICY, attempt, error(**fields), left, 0.5) is None


async def test_retries_wait_in_between_and_never_past_the_deadline() -> None:
    now, slept = [100.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    async def call(attempt: int) -> str:
        raise error(retry_after_s=4.0)

    with pytest.raises(ModelUnavailableError, match=r"after 3 attempts"):
        await with_retries(
            call, RetryPolicy(max_attempts=9), 110.0, clock=lambda: now[0], sleep=sleep, draw=lambda: 0.0
        )
    assert slept == [4.0, 4.0]


async def test_other_errors_are_not_retried() -> None:
    attempts = []

    async def call(attempt: int) -> str:
        attempts.append(attempt)
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await with_retries(call, RetryPolicy(), None)
    assert attempts == [1]
