"""How much memory each of two processes takes to load its part: `… CONFIG SMALL FOLDER PORT RANK`.

SMALL is a model that is loaded before, for the imports. Rank 0 prints a list in JSON: bytes beyond those of before.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from codctl.config.schema import Config
from codctl.learner.group import _Process
from codctl.learner.rendezvous import join
from codctl.models.load import load_model
from codctl.train.setup import prepare_process


def memory(name: str) -> int:
    """A number of this process's status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


def main(recipe: str, small: str, folder: str, port: str, rank: str) -> None:
    prepare_process(1)
    config = Config.model_validate_json(recipe)
    store = TCPStore("127.0.0.1", int(port), is_master=rank == "0")
    ranks = join(store, int(rank), 2, "cpu")
    load_model(Path(small), "float32", "cpu")  # what is imported on the way
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    process = _Process(config, Path(folder), 0, "cpu", ranks)
    own = {"peak": memory("VmHWM") - before, "after": memory("VmRSS") - before}
    found = ranks.all_gather(lambda: own)
    if ranks.is_rank_0:
        print(json.dumps(found))
    process.saver.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
