"""What a forked process of these tests does: `python child.py REQUEST`, in JSON (see `processes.py`)."""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
from pathlib import Path
from typing import Any


def function_of(file: str, name: str) -> Any:
    """A function of a file that is no part of a package."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return getattr(module, name)


def main(request: dict[str, Any]) -> int:
    if "call" in request:
        file, name, *arguments = request["call"]
        json.dump(function_of(file, name)(*arguments), sys.stdout)
        return 0
    if limit := request.get("fsize"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["codctl", *request["argv"]]
    from codctl.cli.main import run

    return run(request["argv"])


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
