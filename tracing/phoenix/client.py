"""Asking a Phoenix server: is it well, which project, which links show a run, what is stored of it.

Standard library only, since the CLI calls it. Requests go straight to the server, past any proxy.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from callsheet.core.errors import TracingError
from callsheet.core.ids import trace_id

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLinks:
    """Where to watch a run: `live` lists its messages as they come, `trace` shows the whole tree."""

    live: str
    trace: str


class PhoenixClient:
    """A few REST calls. Every method raises TracingError where the server is away or refuses."""

    def __init__(
        self, base_url: str, headers: tuple[tuple[str, str], ...] = (), timeout_s: float = TIMEOUT_S
    ) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise TracingError(
                f"{base_url!r} is no address of a Phoenix server", hint="Give one as http://127.0.0.1:6006."
            )
        self.base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def healthy(self) -> bool:
        """Whether the server answers its health check now."""
        try:
            with self._opener.open(f"{self.base_url}/healthz", timeout=self._timeout_s) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def project_id(self, name: str) -> str:
        """The opaque id of a project, which is created where there is none."""
        found = self._call("GET", f"/v1/projects/{quote(name, safe='')}", missing_ok=True)
        if found is None:
            found = self._call("POST", "/v1/projects", {"name": name}, missing_ok=True)
        if found is None:  # another process was faster
            found = self._call("GET", f"/v1/projects/{quote(name, safe='')}")
        return str(found["data"]["id"])

    def spans(self, project: str, run_id: str) -> list[dict[str, Any]]:
        """The stored spans of a run, in no particular order; Phoenix stores some time after it takes."""
        found: list[dict[str, Any]] = []
        query = {"trace_id": trace_id(run_id), "limit": "1000"}
        while True:
            path = f"/v1/projects/{quote(project, safe='')}/spans?{urlencode(query)}"
            page = self._call("GET", path, missing_ok=True)
            if page is None:  # the project is made with its first span
                return found
            found += page["data"]
            if not page.get("next_cursor"):
                return found
            query["cursor"] = page["next_cursor"]

    def graphql(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data of a GraphQL query: the only way to a run's cost."""
        answer = self._call("POST", "/graphql", {"query": query, "variables": variables or {}})
        if answer.get("errors"):
            raise TracingError(f"Phoenix refuses a query: {answer['errors'][0].get('message')}")
        return dict(answer["data"])

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, missing_ok: bool = False
    ) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, "content-type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if missing_ok and error.code in (404, 409):
                    return None
                hint = "Set the header authorization: Bearer <key>." if error.code in (401, 403) else ""
                raise TracingError(
                    f"Phoenix at {self.base_url} answers {method} {path.partition('?')[0]} with "
                    f"HTTP {error.code}",
                    hint=hint or f"Is it really Phoenix that listens at {self.base_url}?",
                ) from None
        except (OSError, http.client.HTTPException) as error:
            raise TracingError(
                f"Phoenix at {self.base_url} cannot be reached: {error}",
                hint="`callsheet up` starts one; `callsheet status` says whether it runs.",
            ) from error
        except ValueError:
            # No JSON, or a header that cannot be sent: the error's text would show it, and it may be a key.
            raise TracingError(
                f"Phoenix at {self.base_url} cannot be asked, or gives no JSON",
                hint=f"Check the headers; is it really Phoenix that listens at {self.base_url}?",
            ) from None


def run_links(
    base_url: str, project: str, run_id: str, headers: tuple[tuple[str, str], ...] = ()
) -> RunLinks:
    """Links to watch a run, good from before its first span on; creates the project where needed.

    Raises TracingError where Phoenix is away.
    """
    client = PhoenixClient(base_url, headers)
    place = f"{client.base_url}/projects/{client.project_id(project)}"
    trace = trace_id(run_id)
    # The list of spans is refreshed every two seconds; an open trace is not.
    condition = f"trace_id == '{trace}' and span_kind == 'CHAIN'"
    return RunLinks(
        live=f"{place}/spans?{urlencode({'spanFilterCondition': condition}, quote_via=quote)}",
        trace=f"{place}/traces/{trace}",
    )
