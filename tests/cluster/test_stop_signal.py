import os
import signal
import time

import pytest

from ocr_ray.cluster.stop_signal import stop_signal

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def test_sigterm_sets_the_flag_and_its_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signal() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 60
        while not stop.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_a_signal_the_flag_is_not_set() -> None:
    with stop_signal() as stop:
        assert not stop.is_set()
