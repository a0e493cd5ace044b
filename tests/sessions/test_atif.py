"""Sessions and trajectories as ATIF, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codctl.errors import RefusedError
from codctl.sessions.atif import as_atif
from codctl.sessions.reading import read_sessions
from codctl.sessions.session import Message, Session, Tokens
from codctl.sessions.trajectories import export_sessions, split_roles

from .atif_rules import check


def test_a_session_of_each_program_is_atif_and_comes_back_equal(tmp_path: Path, played: Session) -> None:
    session = replace(played, reward=0.5, reward_from="given")
    document = as_atif(session)
    check(document)
    path = tmp_path / "trajectory.json"
    path.write_text(json.dumps(document))
    (back,) = read_sessions(path)
    assert back.messages == session.messages
    assert (back.agent, back.reward, back.ended, back.counted) == (
        session.agent, 0.5, "ended", session.counted,
    )  # fmt: skip
    assert back.tools == session.tools


def test_tokens_and_unknown_calls_survive() -> None:
    tokens = Tokens((1, 2), (3,), (-0.5,))
    session = Session(
        "1", "test", messages=(
            Message("assistant", "a", tokens=tokens, written="w"),
            Message("tool", "of nobody", call_id="x", is_error=True),
        ),
    )  # fmt: skip
    document = as_atif(session)
    check(document)
    assert document["agent"] == {"name": "unknown", "version": "unknown"}
    assert document["steps"][0]["metrics"]["completion_token_ids"] == [3]
    assert document["steps"][1] == {
        "step_id": 2, "source": "user", "message": "",
        "observation": {"results": [{"content": "of nobody", "extra": {"is_error": True}}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "specials", "found"),
    [
        (
            "<|system|> lake<|end|><|user|> d4<|end|><|assistant|>",
            ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
            [("system", "lake"), ("user", "d4")],
        ),
        (
            "<|im_start|>system\nlake\n<|im_end|>\n<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n",
            ("<|im_start|>", "<|im_end|>"),
            [("system", "lake"), ("user", "a\nb")],
        ),
        (
            "<|begin|><|h|>system<|e|>\n\nlake<|eot|><|h|>user<|e|>\n\nd4<|eot|><|h|>assistant<|e|>\n\n",
            ("<|begin|>", "<|h|>", "<|e|>", "<|eot|>"),
            [("system", "lake"), ("user", "d4")],
        ),
        ("<s>[INST] lake [/INST]", ("<s>",), [("user", "<s>[INST] lake [/INST]")]),
        ("lake\n", (), [("user", "lake\n")]),
    ],
)
def test_roles_are_seen_in_what_a_model_read(
    prompt: str, specials: tuple[str, ...], found: list[tuple[str, str]]
) -> None:
    assert split_roles(prompt, specials) == found


def test_a_folder_is_never_overwritten(tmp_path: Path, played: Session) -> None:
    found = export_sessions([played, played], tmp_path / "out")
    assert (found.documents, found.sessions) == (2, 2)
    assert len(list((tmp_path / "out").glob("0*.json"))) == 2
    with pytest.raises(RefusedError):
        export_sessions([played], tmp_path / "out")


def test_harbor_itself_finds_nothing_wrong(tmp_path: Path, played: Session) -> None:
    validator = pytest.importorskip("harbor.utils.trajectory_validator").TrajectoryValidator()
    tokens = Tokens((1,), (2,), (-0.5,))
    messages = tuple(replace(m, tokens=tokens) if m.role == "assistant" else m for m in played.messages)
    path = tmp_path / "trajectory.json"
    path.write_text(json.dumps(as_atif(replace(played, messages=messages, reward=1.0, reward_from="given"))))
    assert validator.validate(path), validator.errors
