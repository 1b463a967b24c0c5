"""Resource use of a benchmark: memory of this process and of Ray's workers, and CPUs used by Ray itself."""

import threading
import time

import psutil

SAMPLE_S = 0.5


class ResourceMonitor(threading.Thread):
    """Samples this process and its descendants, from `mark` to `stop`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worker_peak_bytes = self.driver_growth_bytes = 0
        self.background_cpus = 0.0
        """CPUs used by processes that make no parts: driver, raylet, Ray's actors."""
        self._driver, self._ended = psutil.Process(), threading.Event()
        self._seen: dict[int, psutil.Process] = {self._driver.pid: self._driver}
        self._makers: set[int] = set()
        self._base: tuple[float, float, int] | None = None

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._sample()

    def mark(self) -> None:
        """Measure growth and CPUs from now on."""
        self._base = time.monotonic(), self._background_s(), self._driver.memory_info().rss

    def stop(self) -> None:
        """Take a last sample and stop."""
        self._ended.set()
        self.join()
        if self._base:
            self._sample()
            started_s, background_s, _ = self._base
            self.background_cpus = (self._background_s() - background_s) / (time.monotonic() - started_s)

    def _sample(self) -> None:
        for process in self._driver.children(recursive=True):
            try:
                title = " ".join(process.cmdline())
                if "multiprocessing" in title or "PartTask" in title:
                    self._makers.add(process.pid)
                if title.startswith("ray::"):
                    self.worker_peak_bytes = max(self.worker_peak_bytes, process.memory_info().rss)
            except psutil.Error:
                continue  # it has just ended
            self._seen.setdefault(process.pid, process)
        if self._base:
            growth = self._driver.memory_info().rss - self._base[2]
            self.driver_growth_bytes = max(self.driver_growth_bytes, growth)

    def _background_s(self) -> float:
        """Return the CPU seconds of all running processes that make no parts."""
        seconds = 0.0
        for pid, process in list(self._seen.items()):
            if pid not in self._makers:
                try:
                    times = process.cpu_times()
                except psutil.Error:
                    continue
                seconds += times.user + times.system
        return seconds
