"""A process of an engine for tests: `python receiver.py RANK` receives weights for each line of JSON on stdin.

A line has the arguments of `link.receive`, and `file`, where they are stored.
"""

from __future__ import annotations

import json
import sys

import torch
from safetensors.torch import save_file

from codctl.engines import link

if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        received = dict(link.receive(asked["meeting"], asked["tensors"], int(sys.argv[1]), torch.device("cpu")))
        save_file(received, asked["file"])
        print("done", flush=True)
