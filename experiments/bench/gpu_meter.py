"""Time, memory and profile of work on a device."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

GIB = 1 << 30
TOP = 5


@dataclass(frozen=True)
class Meter:
    """Measures on one device.

    Attributes:
        device: cpu or cuda.
    """

    device: str

    def seconds(self, work: Callable[[], object], repeats: int = 1) -> list[float]:
        """Of each call, after one that is not counted."""
        work()
        found = []
        for _ in range(repeats):
            self._wait()
            started = time.perf_counter()
            work()
            self._wait()
            found.append(time.perf_counter() - started)
        return found

    def used_gib(self) -> float:
        """Most that this process has held so far: of the GPU with all that CUDA keeps, else of main memory."""
        if self.device == "cuda":
            free, whole = torch.cuda.mem_get_info()
            return (whole - free) / GIB  # the allocator gives nothing back, so this is the peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB

    def allocated_gib(self) -> float | None:
        """Most that tensors held; None on a CPU."""
        return torch.cuda.max_memory_allocated() / GIB if self.device == "cuda" else None

    def profile(self, work: Callable[[], object]) -> dict[str, Any]:
        """What one call spends its time with: the first kernels (on a CPU operators) and how busy the device is."""
        from torch.profiler import ProfilerActivity, profile

        on_gpu = self.device == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=activities, acc_events=True) as profiler:
            started = time.perf_counter()
            work()
            self._wait()
            wall_s = time.perf_counter() - started
        events = [e for e in profiler.key_averages() if not on_gpu or str(e.device_type).endswith("CUDA")]

        def own(event: Any) -> float:
            return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

        whole = sum(map(own, events)) or 1.0
        events.sort(key=own, reverse=True)
        return {
            "busy": whole / 1e6 / wall_s,  # of the time that the profiler makes longer
            "kernels": sum(e.count for e in events),
            "top": [
                {"name": e.key[:100], "share": own(e) / whole, "ms": own(e) / 1e3, "calls": e.count}
                for e in events[:TOP]
            ],
        }

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
