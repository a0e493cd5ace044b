"""One open model proxy for all tests of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from codctl.agents.proxy.server import ModelProxy
from tests.agents.proxy.serving import Serving


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with asyncio.Runner() as runner:
        opened = ModelProxy.open()
        yield Serving(runner, runner.run(opened.__aenter__()))
        runner.run(opened.__aexit__(None, None, None))
