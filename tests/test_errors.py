from __future__ import annotations

import pytest

from codctl.errors import out_of_memory


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "the machine has no memory left"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:126] . DefaultCPUAllocator: can't allocate memory: you tried to "
                "allocate 536870912 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "the machine has no memory left: 536870912 bytes were refused",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"),
            "the GPU has no memory left: 2.00 GiB were refused",
        ),
        (
            MemoryError("Unable to allocate 1.50 GiB for an array"),
            "the machine has no memory left: 1.50 GiB were refused",
        ),
        (OSError(12, "Cannot allocate memory"), "the machine has no memory left"),
    ],
)
def test_memory_that_is_refused_is_one_message(error: Exception, message: str) -> None:
    explained = out_of_memory(error)
    assert explained
    assert explained.message == message
    assert "--dry-run" in explained.hint


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError(2, "no such file")]
)
def test_other_errors_are_not_about_memory(error: Exception) -> None:
    assert out_of_memory(error) is None
