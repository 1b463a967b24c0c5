import os
import signal
import time

import pytest

from ocr_ray.cluster.stop_signal import stop_signal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_signal_sets_the_flag_and_its_handler_is_restored(number: signal.Signals, exit_code: int) -> None:
    before = signal.signal(number, signal.default_int_handler)  # SIGINT may be ignored
    with stop_signal() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 60
        while not stop.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert stop.exit_code == exit_code
    assert signal.signal(number, before) == signal.default_int_handler


def test_without_a_signal_the_flag_is_not_set() -> None:
    with stop_signal() as stop:
        assert not stop.is_set()
