"""A learner process for tests: `python worker.py CONFIG PORT RANK SIZE`, with the recipe as JSON."""

from __future__ import annotations

import sys

from codctl.config.schema import Config
from codctl.learner.group import work
from codctl.learner.rendezvous import Rendezvous
from codctl.train.setup import prepare_process

if __name__ == "__main__":
    recipe, port, rank, size = sys.argv[1:]
    prepare_process(1)
    work(Config.model_validate_json(recipe), Rendezvous("127.0.0.1", int(port), int(rank), int(size)), "cpu")
