"""Ray sessions: joining a cluster, or starting Ray on this machine."""

import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ocr_ray.cluster.capacity import list_nodes
from ocr_ray.cluster.process_group import end_groups, starting_in_group
from ocr_ray.cluster.ray_state import environment, joins_cluster, settings, started, wait_for_start
from ocr_ray.cluster.ray_watch import stop_watching, watch_ray
from ocr_ray.errors import InputError, ProductionError, StorageError
from ocr_ray.storage.error_messages import describe_storage_error
from ocr_ray.storage.location import Location, write_bytes

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 20
_LOCAL = {"RAY_process_group_cleanup_enabled": "0"}
"""Settings of a Ray that this process starts: workers stay in the process group of Ray's other processes."""


@contextmanager
def ray_session(
    *, num_cpus: int | None = None, reads: Iterable[Location] = (), writes: Iterable[Location] = ()
) -> Iterator[None]:
    """Run Ray for a job: join the cluster that RAY_ADDRESS names (`ray job submit` sets it), else start one.

    `num_cpus` are the logical CPUs of Ray on this machine; None: all of them. `reads` and `writes` are the
    folders that every node must see.

    Raises:
        InputError: a node does not see a local folder.
        ProductionError: Ray does not start or cannot be joined.
        InputError, ProductionError: those that workers raised, or a process of Ray has died.
    """
    wait_for_start()
    handler = signal.getsignal(signal.SIGTERM)
    is_own = not ray.is_initialized()
    if is_own:
        start_ray(num_cpus)
    try:
        # Ray's own handler aborts a process that has not ended three seconds later.
        if callable(handler) and (is_own or started):
            signal.signal(signal.SIGTERM, handler)
        with unwrap_worker_errors():
            check_shared_folders(reads=reads, writes=writes)
            yield
    finally:
        if is_own:
            leave_ray(handler)


def leave_ray(handler: Any) -> None:
    """Leave Ray, and end it if this process has started it; `handler` is the one of SIGTERM before."""
    stop_watching()
    ray.shutdown()
    end_groups()
    # Ray leaves the default handler, which ends the process silently.
    signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)


def warm_up(modules: Sequence[str]) -> None:
    """Let each worker of a Ray that this process has started import modules, without waiting for it."""
    if modules and not joins_cluster():
        task = ray.remote(_import_modules).options(num_cpus=1)
        for _ in range(int(ray.cluster_resources().get("CPU", 0))):  # type: ignore[no-untyped-call]
            task.remote(modules)


def _import_modules(modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)


@contextmanager
def unwrap_worker_errors() -> Iterator[None]:
    """Raise InputError and ProductionError of workers unchanged, so that they determine the exit code.

    The death of one of Ray's own processes is a ProductionError too.
    Ray Data does not log them, nor advise to report them as bugs of Ray; neither does Ray log the errors of
    further workers.
    """
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    if "ray.data" in sys.modules:
        _set_up_ray_data()
    handlers = list(logging.getLogger("ray.data").handlers)
    for handler in handlers:
        handler.addFilter(_is_other_error)
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, InputError | ProductionError):
            raise error.cause from error
        raise
    except RayError as error:
        if message := describe_storage_error(OSError(str(error))):  # with which an actor did not start
            raise StorageError(message) from error
        raise ProductionError(f"Ray has failed: {error}\nrun the same command to resume") from error
    finally:
        for handler in handlers:
            handler.removeFilter(_is_other_error)


def _set_up_ray_data() -> None:
    """Set Ray Data's options, and the format of its log on standard error to that of the job."""
    context = ray.data.DataContext.get_current()
    context.raise_original_map_exception, context.enable_progress_bars = True, False
    of_job = logging.getLogger().handlers
    for handler in logging.getLogger("ray.data").handlers:
        if of_job and isinstance(handler, logging.StreamHandler):  # the other handler writes a file
            handler.setFormatter(of_job[0].formatter)
            if not isinstance(of_job[0], logging.StreamHandler):  # on a terminal
                handler.setLevel(logging.WARNING)


def _is_other_error(record: logging.LogRecord) -> bool:
    """Return whether a log record does not belong to an error that this package raises and reports itself."""
    error = record.exc_info[1] if record.exc_info else sys.exc_info()[1]
    return not isinstance(getattr(error, "cause", error), InputError | ProductionError)


def _share_handlers() -> None:
    """Hand Ray's records to the handlers of a job that logs JSON, or to a terminal, without the chatter."""
    if any(handler.name == "ocr_ray" for handler in logging.getLogger().handlers):
        ray_logger = logging.getLogger("ray")  # its handler is made when Ray is imported
        ray_logger.handlers.clear()
        ray_logger.propagate = True


def start_ray(num_cpus: int | None) -> None:
    """Join the cluster that RAY_ADDRESS names, else start Ray on this machine; see `ray_session`."""
    _share_handlers()
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            log.debug("joining Ray at %s ...", address)
            _check_connection(address)
            ray.init(log_to_driver=False)
        else:
            log.debug("starting Ray ...")
            changes = {name: value for name, value in _LOCAL.items() if name not in os.environ}
            with starting_in_group(), environment(changes):
                ray.init(
                    address="local",
                    num_cpus=num_cpus,
                    log_to_driver=False,
                    include_dashboard=None if settings["dashboard"] else False,
                )
            watch_ray()
    except Exception as error:  # Ray raises a plain Exception if its processes do not start in time
        expectation = (
            f"RAY_ADDRESS={address} must be a running Ray of this version and with this RAY_AUTH_MODE"
            if address
            else "Ray must start on this machine, which may be too busy: run the job again"
        )
        raise ProductionError(f"{expectation}; {error}") from error


def _check_connection(address: str) -> None:
    """Connect once, because Ray tries an address without a server for five minutes, and then aborts."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()


def check_shared_folders(*, reads: Iterable[Location], writes: Iterable[Location]) -> None:
    """Check that every node sees the same local folders.

    Raises:
        InputError: a node does not; the message names folder and node.
    """
    nodes = list_nodes()
    if len(nodes) < 2:
        return
    for folder in reads:
        if folder.is_local:
            _check_visible(folder, folder.path, nodes)
    for folder in writes:
        if folder.is_local:
            probe = folder / f".seen-{uuid.uuid4().hex}"
            write_bytes(probe, b"")
            try:
                _check_visible(folder, probe.path, nodes)
            finally:
                Path(probe.path).unlink()


def _check_visible(folder: Location, path: str, nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        path_exists = ray.remote(_path_exists).options(num_cpus=0, scheduling_strategy=strategy)
        if not ray.get(path_exists.remote(path)):
            raise InputError(
                f"a local folder must be visible to every node of the cluster, {folder} is not on "
                f"{node['NodeManagerAddress']}; use s3:// or a shared disk"
            )


def _path_exists(path: str) -> bool:
    return Path(path).exists()
