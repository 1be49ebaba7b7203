"""Which providers there are, how a model is named, and which model a run takes when none is named.

A model's name is `provider/name`, the name being the provider's own (`openai/gpt-5.4-mini`,
`ollama/llama3.2:3b`, `openai-compatible/meta-llama/Llama-4`), or just `offline`. Nothing here reads the
value of a key: it is looked at only to say whether there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from callsheet.core.errors import SettingsError, unknown_name

OFFLINE = "offline"

KEYS_ARE_READ_AT_START = (
    "A cluster that `callsheet up` started does not see keys that were set afterwards: run `callsheet down`, "
    "then `callsheet up` with the key set."
)
"""For the hint of an error about a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """A provider: the API it speaks, where it is, and the environment variables that configure it."""

    name: str
    api: Literal["openai", "anthropic", "offline"]
    key_env: str = ""
    key_required: bool = False
    url_env: str = ""
    default_url: str = ""
    example: str = ""
    """A model of it, to start with."""
    start_hint: str = ""
    """What to start or check when nobody answers at its address."""


PROVIDERS: dict[str, ProviderInfo] = {
    info.name: info
    for info in (
        ProviderInfo(
            name="anthropic",
            api="anthropic",
            key_env="ANTHROPIC_API_KEY",
            key_required=True,
            url_env="ANTHROPIC_BASE_URL",
            default_url="https://api.anthropic.com",
            example="anthropic/claude-sonnet-5",
            start_hint="Check the network, the proxy settings and ANTHROPIC_BASE_URL.",
        ),
        ProviderInfo(
            name="openai",
            api="openai",
            key_env="OPENAI_API_KEY",
            key_required=True,
            url_env="OPENAI_BASE_URL",
            default_url="https://api.openai.com/v1",
            example="openai/gpt-5.4-mini",
            start_hint="Check the network, the proxy settings and OPENAI_BASE_URL.",
        ),
        ProviderInfo(
            name="azure",
            api="openai",
            key_env="AZURE_OPENAI_API_KEY",
            key_required=True,
            url_env="AZURE_OPENAI_ENDPOINT",
            example="azure/DEPLOYMENT",
            start_hint="Check the network, the proxy settings and AZURE_OPENAI_ENDPOINT.",
        ),
        ProviderInfo(
            name="ollama",
            api="openai",
            key_env="OLLAMA_API_KEY",
            url_env="OLLAMA_HOST",
            default_url="http://127.0.0.1:11434/v1",
            example="ollama/llama3.2",
            start_hint="Start it with `ollama serve`, or set OLLAMA_HOST to where it runs.",
        ),
        ProviderInfo(
            name="vllm",
            api="openai",
            key_env="VLLM_API_KEY",
            url_env="VLLM_BASE_URL",
            default_url="http://127.0.0.1:8000/v1",
            example="vllm/Qwen/Qwen3-8B",
            start_hint="Start it with `vllm serve MODEL`, or set VLLM_BASE_URL to where it runs.",
        ),
        ProviderInfo(
            name="lmstudio",
            api="openai",
            key_env="LMSTUDIO_API_KEY",
            url_env="LMSTUDIO_BASE_URL",
            default_url="http://127.0.0.1:1234/v1",
            example="lmstudio/qwen3-8b",
            start_hint="Start the server in LM Studio (`lms server start`), or set LMSTUDIO_BASE_URL.",
        ),
        ProviderInfo(
            name="openai-compatible",
            api="openai",
            key_env="OPENAI_COMPATIBLE_API_KEY",
            url_env="OPENAI_COMPATIBLE_BASE_URL",
            example="openai-compatible/NAME",
            start_hint="Start the server, or correct OPENAI_COMPATIBLE_BASE_URL.",
        ),
        ProviderInfo(name=OFFLINE, api="offline", example=OFFLINE),
    )
}

_EXAMPLE_URLS = {"azure": "https://NAME.openai.azure.com"}

LOCAL_PROVIDERS = frozenset({"ollama", "vllm", "lmstudio"})
"""Servers that bill nobody we know of: what a call costs there is unknown, which is not the same as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A parsed model name."""

    provider: str
    model: str

    def __str__(self) -> str:
        return OFFLINE if self.provider == OFFLINE else f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A line of `callsheet models`: a provider, whether it can be used, and a name to start with."""

    provider: str
    example: str
    available: bool
    """Nothing is missing that can be seen without calling it: a key where one is needed, an address."""
    key_env: str
    key_present: bool
    base_url: str
    default: bool
    """The model a run takes when none is named is of this provider."""
    note: str


def parse_model(name: str) -> ModelName:
    """The provider and the model in `name`.

    Raises UnknownNameError for a provider there is none of (the known ones are listed), and for a name
    without a provider or without a model.
    """
    provider, slash, model = name.strip().partition("/")
    if provider == OFFLINE and not model:
        return ModelName(provider=OFFLINE, model=OFFLINE)
    if provider in PROVIDERS and provider != OFFLINE:
        if model.strip():
            return ModelName(provider=provider, model=model)
        raise unknown_name(
            "model", name, (), f"Write {provider}/NAME, such as {PROVIDERS[provider].example}."
        )
    if provider == OFFLINE:
        raise unknown_name("model", name, (), "The offline engine has one model: write just `offline`.")
    known = tuple(info.example for info in PROVIDERS.values())
    if not slash:
        owner = {"gpt": "openai", "claude": "anthropic"}.get(provider.split("-")[0].lower())
        if owner:
            raise unknown_name("model", name, (), f"Write {owner}/{name}: a model is named provider/name.")
        raise unknown_name("model", name, known, "A model is named provider/name, or `offline`.")
    raise unknown_name(
        "model provider",
        provider,
        tuple(PROVIDERS),
        f"{name!r} is read as provider/name, or write `offline`.",
    )


def base_url(info: ProviderInfo, environ: Mapping[str, str], configured: Mapping[str, str]) -> str:
    """Where the provider is: as configured, else as the environment says, else its usual address.

    Raises SettingsError for what is no http(s) address, and where there is none at all.
    """
    source = f"the configured base URL of {info.name}"
    url = configured.get(info.name, "").strip()
    if not url and info.url_env:
        source = info.url_env
        url = environ.get(info.url_env, "").strip()
        if info.name == "ollama" and url:
            url = _ollama_url(url)
        if info.name == "azure" and url:
            url = _azure_url(url)
    url = url or info.default_url
    if not url:
        raise SettingsError(
            f"no address is known for {info.name}",
            hint=f"Set {info.url_env}, for example to {_EXAMPLE_URLS.get(info.name, 'http://127.0.0.1:8000/v1')}.",
        )
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"{source} is not an http or https address: {shown_url(url)!r}",
            hint="Write it with its scheme, such as http://127.0.0.1:8000/v1.",
        )
    if parts.username or parts.password:
        raise SettingsError(
            f"{source} holds a user name or password: {shown_url(url)!r}",
            hint=f"Leave it out of the address, and set {info.key_env} to the server's key.",
        )
    return url.rstrip("/")


def _azure_url(endpoint: str) -> str:
    # Azure's own form is the resource alone, without the path of the API.
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return endpoint
    return endpoint if parts.path.strip("/") else urlunsplit(parts._replace(path="/openai/v1"))


def _ollama_url(host: str) -> str:
    # Ollama's own forms: `0.0.0.0`, `host`, `host:port`, `http://host:port`.
    if "://" not in host:
        host = f"http://{host}"
    try:
        parts = urlsplit(host)
        port = parts.port or (443 if parts.scheme == "https" else 11434)
        name = parts.hostname or "127.0.0.1"
    except ValueError:
        return host
    if parts.username or parts.password:
        return host
    if name in ("0.0.0.0", "::"):  # noqa: S104 - what a server listens on is not an address to call
        name = "127.0.0.1"
    if ":" in name:
        name = f"[{name}]"
    path = parts.path.rstrip("/") or "/v1"
    return urlunsplit((parts.scheme, f"{name}:{port}", path, "", ""))


def shown_url(url: str) -> str:
    """The address as it may be shown: without user name, password, query and fragment."""
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
    except ValueError:
        return "(an address that cannot be read)"


def default_model(environ: Mapping[str, str]) -> str:
    """The model of a run for which none is named: of the first provider with a key, else `offline`."""
    for provider in ("anthropic", "openai"):
        if environ.get(PROVIDERS[provider].key_env, "").strip():
            return PROVIDERS[provider].example
    return OFFLINE


def expected_provider(environ: Mapping[str, str]) -> str:
    """The provider that runs will probably ask: the default model's, else the first one with an address that is set."""
    chosen = parse_model(default_model(environ)).provider
    addressed = [
        info.name for info in PROVIDERS.values() if info.url_env and environ.get(info.url_env, "").strip()
    ]
    return addressed[0] if chosen == OFFLINE and addressed else chosen


def list_models(
    environ: Mapping[str, str], configured: Mapping[str, str] | None = None
) -> tuple[ModelInfo, ...]:
    """The providers, and what each needs. No key's value is in the answer."""
    chosen = parse_model(default_model(environ)).provider
    found = []
    for info in PROVIDERS.values():
        key_present = bool(info.key_env and environ.get(info.key_env, "").strip())
        address, note = "", ""
        if info.api == "offline":
            note = "no language model: a deterministic engine that quotes what its tools found"
        else:
            try:
                address = base_url(info, environ, configured or {})
            except SettingsError as error:
                note = error.hint
            if info.key_required and not key_present:
                note = f"Set {info.key_env} to use it."
            elif not note and info.name in LOCAL_PROVIDERS:
                note = info.start_hint
        found.append(
            ModelInfo(
                provider=info.name,
                example=info.example,
                available=info.api == "offline" or bool(address and (key_present or not info.key_required)),
                key_env=info.key_env,
                key_present=key_present,
                base_url=shown_url(address),
                default=info.name == chosen,
                note=note,
            )
        )
    return tuple(found)
