"""A configuration that evaluates (`mode: bench`) as a suite for `codctl eval --suite`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.config.names import plain
from codctl.config.problems import usage_error
from codctl.trinity.configuration import Configuration
from codctl.trinity.fates import Ledger
from codctl.trinity.recipe import Translation, find_worlds
from codctl.trinity.rules import KNOWN, RULES
from codctl.trinity.worlds import World

_SETS = "buffer.explorer_input.eval_tasksets"
_ARGS = "cod.cod_workflow_args"


def translate_bench(configuration: Configuration) -> Translation:
    """Make a suite of a configuration that evaluates. The model is named when it is played.

    Raises:
        UsageError: With all problems at once.
    """
    ledger = Ledger(configuration)
    ledger.decide("mode", "used", "codctl eval --suite")
    ledger.decide("model.model_path", "no counterpart", "codctl eval --run RUN, or --model FOLDER")
    ledger.decide("checkpoint_root_dir", "no counterpart", "codctl eval --run RUN, or --model FOLDER")
    for key in ("project", "name"):
        ledger.decide(key, "no counterpart", "codctl eval --run RUN, or --model FOLDER")
    shared = _shared(ledger)
    found = find_worlds(ledger, _SETS, "test")
    entries = [_entry(ledger, number, world, shared) for number, world in enumerate(found)]
    for key in ("cod.task_pack_size", "monitor"):
        ledger.decide(key, "no counterpart", "about training")
    fates = ledger.close(RULES, KNOWN)
    if ledger.problems:
        raise usage_error(configuration.shown, ledger.problems)
    name = plain(Path(configuration.shown).stem).strip("._-") or "bench"
    about = f"From {Path(configuration.shown).name} of Trinity-RFT."
    return Translation({"name": name, "description": about, "evaluations": entries}, fates)


def _shared(ledger: Ledger) -> dict[str, Any]:
    reply = ledger.whole("model.max_response_tokens", "solve_tokens and update_tokens", 2048)
    ledger.decide("model.max_model_len", "no counterpart", "engine.max_tokens, on the command line")
    ledger.decide(f"{_ARGS}.hint_penalty_coef", "no counterpart", "a malformed update keeps the hints in an evaluation")
    ledger.decide(f"{_ARGS}.cod_log_interval", "no counterpart", "every pack is kept")
    strategy = str(ledger.use("cod.packing_strategy", "strategy", "cod"))
    if strategy not in ("cod", "ralph_full", "ralph_sample"):
        ledger.refuse("cod.packing_strategy", f"expected cod, ralph_full or ralph_sample, got {strategy!r}")
    return {
        "rendering": "full",
        "length": ledger.whole("cod.eval_task_pack_size", "length", 8),
        "strategy": strategy,
        "seeds": [ledger.whole("explorer.rollout_model.seed", "seeds: of the sampling", 0)],
        "solve_tokens": reply,
        "update_tokens": reply,
        "suggested_tokens": ledger.whole(f"{_ARGS}.max_response_tokens_restraint", "suggested_tokens"),
    }


def _entry(ledger: Ledger, number: int, world: World, shared: dict[str, Any]) -> dict[str, Any]:
    at = f"{_SETS}.{number}"
    repeats = ledger.whole(f"{at}.repeat_times", "one rollout of each pack", 1)
    if repeats != 1:
        ledger.decide(f"{at}.repeat_times", "no counterpart", "seeds=[0,1,…] plays all packs several times")
    ledger.decide(f"{at}.workflow_args.length_penalty_coef", "no counterpart", "an evaluation tells the raw reward")
    return {
        "name": plain(world.name),
        "worlds": [world.keys],
        **shared,
        "temperature": ledger.number(f"{at}.rollout_args.temperature", "temperature", 1.0),
        "packs": world.rows // (shared["length"] or 8) if shared["strategy"] != "ralph_full" else world.rows,
        "arms": ["own"],
    }
