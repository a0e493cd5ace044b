"""A checkpoint that cannot be trusted any more is not evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.files.seal import sealing
from codctl.train.saved_models import SavedModel, lay_out


def test_a_damaged_or_removed_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "step-000003"
    with sealing(path) as temp:
        (temp / "rank-00000-of-00001.safetensors").write_bytes(b"weights")
    saved = SavedModel("3", 3, tmp_path / "start", path)
    (path / "rank-00000-of-00001.safetensors").write_bytes(b"weighty")
    with pytest.raises(StageError, match=r"the checkpoint is damaged: rank-.*: content differs"):
        lay_out(saved, Config(), tmp_path / "model")
    path.rename(tmp_path / "gone")
    with pytest.raises(StageError, match="has removed this checkpoint meanwhile"):
        lay_out(saved, Config(), tmp_path / "model")
    assert not (tmp_path / "model").exists()
