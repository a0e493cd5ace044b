"""`python -m tests.golden`: write the golden values anew, after a change that is meant."""

from __future__ import annotations

import tempfile
from pathlib import Path

from codctl.startup import wait_without_spinning
from tests import forked
from tests.surroundings import settle


def main() -> None:
    settle()
    wait_without_spinning()
    forked.install()
    from tests.golden.normal import written
    from tests.golden.record import FOLDER, record

    with tempfile.TemporaryDirectory() as home:
        for name, value in record(Path(home)).items():
            (FOLDER / f"{name}.json").write_text(written(value) + "\n")


if __name__ == "__main__":
    main()
