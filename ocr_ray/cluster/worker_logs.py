"""Log records of worker processes, relayed to the driver."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener

from ray.util.queue import Queue

from ocr_ray.cluster.capacity import on_driver_node


@contextmanager
def relayed_logs() -> Iterator[Queue]:
    """Log here what workers log after `relay_logs` with the queue given; Ray would print all they print."""
    queue = Queue(actor_options=on_driver_node())
    listener = QueueListener(queue, _Relay())
    listener.start()
    try:
        yield queue
    finally:
        listener.stop()
        queue.shutdown(force=True)


def relay_logs(queue: Queue) -> None:
    """Send what this process logs in the package, from INFO on, to where `relayed_logs` was entered."""
    logger = logging.getLogger("ocr_ray")
    logger.setLevel(logging.INFO)
    logger.addHandler(QueueHandler(queue))


class _Relay(logging.Handler):
    """Hands records on to the logger of their name in this process."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)
