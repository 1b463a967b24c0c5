"""Log records of worker processes, relayed to the driver."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener

from ray.util.queue import Queue

from ocr_ray.cluster.capacity import on_driver_node


@contextmanager
def relayed_logs() -> Iterator[Queue]:
    """Log the records of workers that call `relay_logs` with this queue.

    Ray's own `log_to_driver` would print all their output.
    """
    queue = Queue(actor_options=on_driver_node())
    listener = QueueListener(queue, _Relay())
    listener.start()
    try:
        yield queue
    finally:
        listener.stop()
        queue.shutdown(force=True)


def relay_logs(queue: Queue) -> None:
    """Send this process's log records of the package, from INFO on, to the process with `relayed_logs`."""
    logger = logging.getLogger("ocr_ray")
    logger.setLevel(logging.INFO)
    logger.addHandler(QueueHandler(queue))


class _Relay(logging.Handler):
    """Passes records to the logger of the same name in this process."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)
