"""Ray itself: join a cluster, or start one for this driver alone, on loopback and with telemetry off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from callsheet.core.errors import ClusterError
from callsheet.runtime.worker_output import show_output

NAMESPACE = "callsheet"

LOCAL_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Makes Ray take 127.0.0.1 for the node's address, which binds every one of its servers to loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Under `uv run`, Ray would pack the working directory and make an environment for each worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}

ATTEMPTS = 3
"""On a loaded machine a start can time out; the next attempt mostly succeeds."""


PROBE_TIMEOUT_S = 5.0


def is_connected() -> bool:
    """Whether this process is connected to Ray already."""
    ray = sys.modules.get("ray")
    return bool(ray is not None and ray.is_initialized())


def token_environment(token_path: Path | str) -> dict[str, str]:
    """What makes Ray's processes ask for the token in that file, and show it."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path)}


def connect(
    address: str | None,
    *,
    token_path: str | None = None,
    hidden: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> bool:
    """Connect this process to Ray; True if a local Ray was started for it, which ends with this process.

    With an address the cluster there is joined, with the token in `token_path` if it wants one. The
    environment variables `hidden` (keys) are not passed on to a Ray that is started here. Raises
    ClusterError. Blocks for up to about 20 s.
    """
    _ended.clear()
    if is_connected():
        return False
    # Set only where nothing else was wished for, and only as far as joining another cluster allows.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if address is not None:
        _join(address, token_path, progress)
    else:
        progress("starting Ray on this machine")
        _in_lasting_thread(lambda: _start(hidden, progress))
    show_output()
    return address is None


LOOK_S = 2.0
MISSES = 3
"""A Ray that cannot be reached so often in a row has ended."""

_ended = threading.Event()


def has_ended() -> bool:
    """Whether the Ray that this process was connected to has ended under it."""
    return _ended.is_set()


async def until_ray_ends() -> None:
    """Returns when Ray's head cannot be reached any more.

    Ray itself says nothing for a minute, and then ends the process that asks it (`gcs_rpc_server_reconnect
    _timeout_s`); a call to an actor that ended with it never returns.
    """
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    missed = 0
    while missed < MISSES:
        await asyncio.sleep(LOOK_S)
        missed = 0 if await _answers(host, int(port)) else missed + 1
    _ended.set()


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(LOOK_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # a timeout is one too
        return False
    writer.close()
    return True


def disconnect() -> None:
    """Leave Ray; a Ray that `connect` started ends."""
    if is_connected():
        import ray

        ray.shutdown()


def ship_by_value(modules: Iterable[str]) -> None:
    """Let what these loaded modules define travel by value, since no worker can import them."""
    names = [name for name in modules if name in sys.modules]
    if names:
        from ray import cloudpickle

        for name in names:
            cloudpickle.register_pickle_by_value(sys.modules[name])


def _join(address: str, token_path: str | None, progress: Callable[[str], None]) -> None:
    progress(f"joining Ray at {address}")
    already = "ray" in sys.modules
    loopback = _only_on_loopback(address)
    if token_path is not None:
        os.environ.update(token_environment(token_path))
    import ray

    if token_path is not None and already:
        # Ray read its environment when it was imported.
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    if loopback:
        # Ray would put the machine's outer address in the place of 127.0.0.1, where this head does not listen.
        from ray._private import ray_constants

        ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=True, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises many types here, RuntimeError and its own among them
        raise _no_cluster(address, _first_line(error)) from error


def _only_on_loopback(address: str) -> bool:
    """Whether the head listens on loopback alone. Raises ClusterError if it does not listen at all.

    Asked before Ray is, which tries for minutes to reach what is not there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        return False  # "auto", "local": Ray's own words
    host = host.strip("[]")
    if host not in ("127.0.0.1", "::1", "localhost"):
        refusal = _refusal(host, int(port))
        if refusal is not None:
            raise _no_cluster(address, refusal)
        return False
    outer = _outer_address()
    if outer != "127.0.0.1" and _refusal(outer, int(port)) is None:
        return False
    refusal = _refusal(host, int(port))
    if refusal is not None:
        raise _no_cluster(address, refusal)
    return not address.startswith("ray://")


def _outer_address() -> str:
    """The address by which other machines know this one, as Ray finds it; 127.0.0.1 if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 80))  # sends nothing: it only chooses the way
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _refusal(host: str, port: int) -> str | None:
    """Why nobody can be reached there; None if somebody can."""
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _no_cluster(address: str, why: str) -> ClusterError:
    return ClusterError(
        f"there is no Ray cluster at {address}: {why}",
        hint="Start one with `callsheet up`, mend the address (--address, CALLSHEET_ADDRESS or "
        "RAY_ADDRESS), or unset it to use a Ray of this run's own. A cluster that asks for a token wants "
        "RAY_AUTH_MODE=token.",
    )


def _start(hidden: tuple[str, ...], progress: Callable[[str], None]) -> None:
    with _environment(hidden):
        already = sys.modules.get("ray")
        import ray

        if already is not None:
            # Ray read its environment when it was imported.
            from ray._private import ray_constants

            ray_constants.ENABLE_RAY_CLUSTER = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                ray.init(
                    address="local", namespace=NAMESPACE, include_dashboard=False, log_to_driver=True,
                    logging_level=logging.ERROR,
                )  # fmt: skip
            except Exception as error:  # see _join
                ray.shutdown()
                if attempt == ATTEMPTS:
                    raise ClusterError(
                        f"Ray could not be started in {ATTEMPTS} attempts: {_first_line(error)}",
                        hint="`callsheet doctor` looks for the cause; `--inline` runs without Ray.",
                    ) from error
                progress(f"Ray did not start ({_first_line(error)}); trying again")
            else:
                return


def _in_lasting_thread(work: Callable[[], None]) -> None:
    """Do the work in a thread that lives as long as the process.

    Linux kills Ray's processes when the very thread that started them ends (PR_SET_PDEATHSIG, by which
    Ray makes sure that they do not outlive the driver), and we may be in a pool's thread here.
    """
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def live() -> None:
        try:
            work()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)
            threading.Event().wait()

    threading.Thread(target=live, name="callsheet-ray", daemon=True).start()
    error = done.get()
    if error is not None:
        raise error


@contextlib.contextmanager
def _environment(hidden: tuple[str, ...]) -> Iterator[None]:
    """Ray's processes inherit the environment at their start: without keys, and set to stay at home."""
    before = dict(os.environ)
    os.environ.update(LOCAL_ENVIRONMENT)
    os.environ.pop("RAY_ADDRESS", None)
    for name in hidden:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name in (*LOCAL_ENVIRONMENT, "RAY_ADDRESS", *hidden):
            if name in before:
                os.environ[name] = before[name]
            elif name != "RAY_ENABLE_UV_RUN_RUNTIME_ENV":
                os.environ.pop(name, None)


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


async def within(awaitable: Any, timeout_s: float) -> Any:
    """Await a Ray reference or coroutine for at most that long. Raises TimeoutError."""
    return await asyncio.wait_for(_awaited(awaitable), timeout_s)


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
