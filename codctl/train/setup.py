"""What several stages need: rollout settings, chat, engine and threads of a recipe."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.cod.conversation import TemplateChat
from codctl.cod.settings import RolloutSettings
from codctl.config.schema import Config, LossConfig
from codctl.models import hub
from codctl.models.check import check_tokenizer
from codctl.models.files import read_settings
from codctl.models.load import check_folder, load_chat, load_model, load_tokenizer, processes_of, use_attention
from codctl.models.weights import silence

if TYPE_CHECKING:
    import torch

    from codctl.engines.provider import OpenEngine

SIDE_FILE = "codctl.json"  # beside a model: how it was trained to be prompted


@dataclass(frozen=True)
class Speaker:
    """A model that can be talked to."""

    model: Any
    tokenizer: Any
    chat: TemplateChat

    @property
    def max_tokens(self) -> int:
        return int(self.model.config.max_position_embeddings)


def rollout_settings(config: Config) -> RolloutSettings:
    """The part of a recipe that the rollout reads."""
    return RolloutSettings(
        rendering=config.world.rendering,
        temperature=config.sampling.temperature,
        solve_tokens=config.sampling.solve_tokens,
        update_tokens=config.sampling.update_tokens,
        on_parse_failure=config.context.on_parse_failure,
        parse_failure_reward=config.context.parse_failure_reward,
        max_chars=config.context.max_chars,
        turn_penalty=config.train.reward.turn_penalty,
        turn_penalties={
            part.family: part.turn_penalty for part in config.world.mixture if part.turn_penalty is not None
        },
        deadline_s=config.sampling.deadline_s,
        top_p=config.sampling.top_p,
        suggested_tokens=config.sampling.suggested_tokens,
        answers=config.sampling.answers,
        update=config.context.update,
    )


def prepare_process(threads: int) -> None:
    """Make torch repeatable and quiet in this process: thread count, no hub, no telemetry, no progress bars."""
    hub.stay_offline()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.set_num_threads(threads)
    # cuDNN makes a plan for each new shape, some 60 ms on an H200, and while sampling each pass has a new shape.
    torch.backends.cuda.enable_cudnn_sdp(False)
    silence()


def load_speaker(folder: Path, dtype: str, device: str) -> Speaker:
    """Load model, tokenizer and chat of a folder; PreflightError says what is wrong with it."""
    check_folder(folder)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(tokenizer, folder)
    chat = load_chat(folder, tokenizer)
    model = load_model(folder, dtype, device)
    use_attention(model, "auto", dtype)
    return Speaker(model, tokenizer, chat)


def open_in_process(
    config: Config, speaker: Speaker, autocast: torch.dtype | None = None, *, beside: int = 0
) -> OpenEngine:
    """An engine that samples with a model of this process.

    Args:
        config: Names the engine, and says how many sequences run at the same time.
        speaker: Whose model samples.
        autocast: Type of the arithmetic when it is not that of the weights.
        beside: Bytes that a learner keeps beside each number that it trains.
    """
    from codctl.engines.provider import LoadedModel, Opening, provider_of

    pad_id = speaker.tokenizer.pad_token_id
    loaded = LoadedModel(
        speaker.model,
        pad_id=speaker.chat.stop_ids[0] if pad_id is None else pad_id,
        max_tokens=speaker.max_tokens,
        autocast=autocast,
        kv_memory=_kv_memory(speaker.model, beside, processes_of(config)),
    )
    folder = Path(speaker.model.name_or_path)
    return provider_of(config).open(Opening(config, folder, folder, (), Path("engine.log"), loaded))


def learner_bytes(loss: LossConfig) -> int:
    """Bytes that a learner keeps beside each number that it trains: AdamW's moments, and where it was at the start."""
    from codctl.plan.sizes import MASTER, MOMENTS

    return MOMENTS + (MASTER if loss.needs_reference else 0)


def _kv_memory(model: Any, beside: int, processes: int) -> int | None:
    """Most bytes of keys and values in each process; None when the machine's memory is not known."""
    import torch

    from codctl.engines.budget import kv_limit
    from codctl.runs import machine

    device = next(model.parameters()).device
    memory = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else machine.memory_bytes()
    resident = sum(
        weights.nbytes + (beside * weights.numel() if weights.requires_grad else 0) for weights in model.parameters()
    )
    return kv_limit(memory, resident) // processes if memory else None


def export(speaker: Speaker, config: Config, folder: Path) -> None:
    """Save model and tokenizer as an ordinary Hugging Face folder, with how it wants to be prompted."""
    speaker.model.save_pretrained(folder, safe_serialization=True)
    speaker.tokenizer.save_pretrained(folder)
    write_side_file(config, speaker.chat, folder)


def write_side_file(config: Config, chat: TemplateChat, folder: Path) -> None:
    """Put beside a model how it wants to be prompted, for `read_side_file`."""
    side = {
        "schema": 1,
        "world": config.world.model_dump(mode="json"),
        "sampling": config.sampling.model_dump(mode="json"),
        **({"update": config.context.update} if config.context.update != "rewrite" else {}),
        "chat": chat.describe(),
    }
    (folder / SIDE_FILE).write_text(json.dumps(side, indent=2) + "\n")


def read_side_file(folder: Path) -> dict[str, Any]:
    """What `write_side_file` put beside the model; empty for a foreign folder."""
    path = folder / SIDE_FILE
    if not path.is_file():
        return {}
    return read_settings(path)
