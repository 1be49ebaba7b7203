"""What providers' headers say of limits, and what settings may say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import SettingsError, UnknownNameError
from callsheet.models.config import GatewayConfig
from callsheet.models.limit_headers import Said, read_limits
from callsheet.models.limits import Limits, keys_of, parse_limits
from tests.data_sets import data_file

NOW = 1_760_000_000.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("12ms", 0.012),
        ("0s", 0.0),
        ("7.66s", 7.66),
        ("1m6.779s", 66.779),
        ("2m59.56s", 179.56),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("1d2h", 93600.0),
        ("30", 30.0),
        ("2025-10-09T08:53:32Z", 12.0),
        ("Thu, 09 Oct 2025 08:53:32 GMT", 12.0),
        ("2025-10-09T08:53:00Z", 0.0),
        ("99999d", None),
        ("soon", None),
        ("", None),
        ("-5", 0.0),
        ("nan", None),
        ("1e400", None),
    ],
)
def test_a_reset_is_a_duration_or_a_moment(reset: str, seconds: float | None) -> None:
    headers = {"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": reset}
    said = read_limits(headers, NOW)["requests"]
    assert (said.remaining, said.reset_s) == (
        0,
        None if seconds is None else pytest.approx(seconds, abs=1e-6),
    )


def test_anthropics_headers_are_read_by_the_servers_own_clock() -> None:
    headers = {
        "date": "Wed, 26 Nov 2025 17:12:40 GMT",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2025-11-26T17:12:46Z",
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2025-11-26T17:13:40Z",
        "retry-after": "13",
    }
    assert read_limits(headers, NOW) == {
        "requests": Said(limit=50, remaining=49, reset_s=6.0),
        "input_tokens": Said(limit=30000, remaining=0, reset_s=60.0),
    }


def test_mistrals_headers_are_read() -> None:
    headers = {
        "x-ratelimit-limit-tokens-minute": "250000",
        "x-ratelimit-remaining-tokens-minute": "249805",
        "x-ratelimit-tokens-query-cost": "86",
        "x-ratelimit-limit-req-minute": "4",
        "x-ratelimit-remaining-req-minute": "2",
    }
    assert read_limits(headers, NOW) == {
        "tokens": Said(limit=250000, remaining=249805),
        "requests": Said(limit=4, remaining=2),
    }


def test_a_limit_by_the_second_is_not_taken_for_one_by_the_minute() -> None:
    headers = {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "200ms",
    }
    assert read_limits(headers, NOW)["requests"].limit is None
    by_the_minute = {**headers, "x-ratelimit-reset-requests": "12s"}
    assert read_limits(by_the_minute, NOW)["requests"].limit == 5


_TEXT = st.one_of(
    st.sampled_from(["0", "-1", "1e99", "nan", "12ms", "1m", "2026-01-01T00:00:00Z", "0001-01-01", "٣"]),
    st.text(),
)
_NAME = st.one_of(
    st.tuples(
        st.sampled_from(["limit", "remaining", "reset"]),
        st.sampled_from(["requests", "tokens", "req-minute"]),
    ).map(lambda pair: f"x-ratelimit-{pair[0]}-{pair[1]}"),
    st.tuples(
        st.sampled_from(["requests", "input-tokens"]), st.sampled_from(["limit", "remaining", "reset"])
    ).map(lambda pair: f"anthropic-ratelimit-{pair[0]}-{pair[1]}"),
    st.just("date"),
    st.text(),
)


@given(st.dictionaries(_NAME, _TEXT))
def test_no_header_whatever_it_holds_is_an_error_or_an_absurd_wait(headers: dict[str, str]) -> None:
    for said in read_limits(headers, NOW).values():
        assert said.limit is None or said.limit >= 1
        assert said.remaining is None or said.remaining >= 0
        assert said.reset_s is None or 0 <= said.reset_s <= 7 * 86400


def test_every_recorded_exchange_with_limits_in_its_headers_is_read() -> None:
    read = 0
    for line in data_file("llm_exchanges/exchanges.jsonl").read_text().splitlines():
        headers: Mapping[str, str] = json.loads(line)["response_headers"]
        stated = {name for name in headers if "ratelimit" in name and "requests" in name}
        if stated:
            said = read_limits(headers, NOW)["requests"]
            assert said.remaining is not None
            assert said.reset_s is None or said.reset_s < 120
            read += 1
    assert read > 30


def test_a_call_falls_under_its_crew_its_model_its_provider_and_all() -> None:
    assert keys_of("openai/a/b", "helpdesk") == ("crew:helpdesk", "openai/a/b", "openai/*", "*")
    assert keys_of("offline", "") == ("offline", "*")


def test_limits_are_read_from_settings() -> None:
    config = GatewayConfig(limits={"openai/*": {"requests_per_minute": 500}, "*": {"usd_per_day": 5}})
    assert config.limits == {"openai/*": Limits(requests_per_minute=500), "*": Limits(usd_per_day=5)}
    assert GatewayConfig(limits=config.limits).limits == config.limits


@pytest.mark.parametrize("key", ["openai", "nobody/x", "openai/", "crew:", "", "offline/*", "**"])
def test_a_limit_on_nothing_that_there_is_is_refused(key: str) -> None:
    with pytest.raises(UnknownNameError, match="to limit") as caught:
        parse_limits({key: {"in_flight": 1}})
    assert "crew:helpdesk" in caught.value.hint


@pytest.mark.parametrize(
    "limits",
    [
        {"in_flight": 0},
        {"in_flight": True},
        {"requests_per_minute": 1.5},
        {"tokens_per_minute": "500"},
        {"usd_per_day": -1},
        {"usd_per_day": float("nan")},
        {"usd_per_day": float("inf")},
        5,
        None,
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limits: Any) -> None:
    with pytest.raises(SettingsError):
        parse_limits({"*": limits})


def test_an_unknown_limit_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="request_per_minute") as caught:
        parse_limits({"*": {"request_per_minute": 5}})
    assert "requests_per_minute" in caught.value.hint
