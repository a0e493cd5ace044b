"""A learner process for tests: `python follower.py CONFIG PORT RANK SIZE`, with the recipe as JSON."""

from __future__ import annotations

import sys

from codctl.config.schema import Config
from codctl.learner.group import follow
from codctl.learner.meeting import Meeting
from codctl.train.setup import prepare_process

if __name__ == "__main__":
    recipe, port, rank, size = sys.argv[1:]
    prepare_process(1)
    follow(Config.model_validate_json(recipe), Meeting("127.0.0.1", int(port), int(rank), int(size)), "cpu")
