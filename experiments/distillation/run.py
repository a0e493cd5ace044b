"""Two tiny teachers into one student, and what else one could have done with them: the table of README.md.

    python experiments/distillation/run.py --out runs/distillation --seeds 0 1 2

Trains the teachers and the student's start for each seed, then every arm from that start, plays the same test packs
with each, and prints the table. Everything is kept in --out: the same command again continues.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

FAMILIES = ("frozen_lake", "alchemy")
TEACHERS = {"frozen_lake": "tiny-teacher-frozen-lake", "alchemy": "tiny-teacher-alchemy"}
EVALUATED = ("own", "none", "shuffled", "oracle")
ROLLOUTS = 8  # of a pack in mixture RL
SELF_STEPS = 3
ARMS = {
    "start": "the student before",
    "teacher-frozen_lake": "teacher of FrozenLake",
    "teacher-alchemy": "teacher of Alchemy",
    "rl": "(a) mixture RL, as many trajectories",
    "sft-all": "(b) SFT on all of the teachers' trajectories",
    "sft-successful": "(b) SFT on the tasks that they solved",
    "opd-sampled": "(c) distilled, sampled tokens",
    "opd-topk": "(c') distilled, 16 likeliest tokens",
    "opd-full": "(d) distilled, whole vocabulary",
    "average": "(e) mean of both teachers' weights",
    "opd-swapped": "(f) distilled, teachers swapped",
    "opd-self": "(g) distilled, its own teacher",
}


@dataclass(frozen=True)
class Study:
    """What is asked for.

    Attributes:
        out: Runs folder of everything.
        packs: Test packs of each family.
        steps: Of a distillation, with `at_once` packs each.
        at_once: Packs of a step.
        short: Further settings of every training, to try it out.
        short_teachers: The same of teachers.
    """

    out: Path
    packs: int
    steps: int
    at_once: int
    short: tuple[str, ...] = ()
    short_teachers: tuple[str, ...] = ()

    @property
    def trajectories(self) -> int:
        return self.steps * self.at_once

    def run(self, name: str) -> Path:
        return self.out / name


def codctl(*words: str) -> Any:
    """One command; what it prints as JSON."""
    print("$ codctl", *words, file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, "-m", "codctl", *words, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["result"]


def train(study: Study, recipe: str, name: str, *overrides: str) -> Path:
    """Train a run to its end, or do nothing when it is; its folder."""
    shared = ("evaluation.enabled=false", "evaluation.every=0", "health.look.action=off", *study.short)
    words = {word.partition("=")[0]: word for word in (*shared, *overrides)}  # the last one of a key counts
    codctl("train", recipe, "--name", name, "--runs-dir", str(study.out), *words.values())
    return study.run(name)


# --- what every arm begins with -----------------------------------------------------------------------------------


def start_of(study: Study, seed: int) -> Path:
    """The student before: the warm-started mixture model."""
    run = train(study, "tiny-opd", f"start-{seed}", f"seed={seed}", "train.enabled=false", "distill.teachers=[]")
    return run / "stages/warm_start/model"


def teacher_of(study: Study, family: str, seed: int) -> Path:
    run = train(study, TEACHERS[family], f"teacher-{family}-{seed}", f"seed={seed}", *study.short_teachers)
    return run / "stages/cod_train/final"


def distilled(study: Study, name: str, seed: int, teachers: dict[str, Path], *overrides: str) -> Path:
    listed = ", ".join(f"{{families: [{family}], model: {folder}}}" for family, folder in teachers.items())
    run = train(
        study, "tiny-opd", f"{name}-{seed}", f"seed={seed}", f"model.path={start_of(study, seed)}",
        "warm_start.enabled=false", f"train.steps={study.steps}", f"train.packs={study.at_once}",
        f"distill.teachers=[{listed}]", *overrides,
    )  # fmt: skip
    return run / "stages/cod_train/final"


def both(study: Study, seed: int) -> dict[str, Path]:
    return {family: teacher_of(study, family, seed) for family in FAMILIES}


# --- arms ---------------------------------------------------------------------------------------------------------


def rl(study: Study, seed: int) -> Path:
    """Mixture RL with as many trajectories: groups of eight."""
    packs = 16
    run = train(
        study, "tiny-opd", f"rl-{seed}", f"seed={seed}", f"model.path={start_of(study, seed)}",
        "warm_start.enabled=false", "distill.teachers=[]", f"train.packs={packs}", f"train.rollouts={ROLLOUTS}",
        f"train.steps={max(1, study.trajectories // (packs * ROLLOUTS))}",
    )  # fmt: skip
    return run / "stages/cod_train/final"


def swapped(study: Study, seed: int) -> Path:
    first, second = both(study, seed).values()
    return distilled(study, "opd-swapped", seed, dict(zip(FAMILIES, (second, first), strict=True)))


def own_teacher(study: Study, seed: int) -> Path:
    start = start_of(study, seed)
    return distilled(study, "opd-self", seed, dict.fromkeys(FAMILIES, start), f"train.steps={SELF_STEPS}")


def average(study: Study, seed: int) -> Path:
    """Both teachers' weights, one half of each."""
    folder = study.run(f"average-{seed}")
    if not (folder / "model.safetensors").is_file():
        import shutil

        from safetensors.torch import load_file, save_file

        one, other = (load_file(teacher / "model.safetensors") for teacher in both(study, seed).values())
        shutil.copytree(start_of(study, seed), folder, dirs_exist_ok=True)
        (folder / "COMPLETE.json").unlink(missing_ok=True)
        save_file({key: (one[key] + other[key]) / 2 for key in one}, folder / "model.safetensors", {"format": "pt"})
    return folder


def sft(study: Study, seed: int, *, only_solved: bool) -> Path:
    """The student learns to say what the teachers have said in packs of their own, each token once."""
    folder = study.run(f"sft-{'successful' if only_solved else 'all'}-{seed}")
    if (folder / "cost.json").is_file():
        return folder
    import shutil

    from codctl.config.compose import load_config
    from codctl.learner.imitation import Imitation
    from codctl.models.load import load_tokenizer, load_trainable
    from codctl.train.setup import prepare_process

    start = start_of(study, seed)
    words = [f"seed={seed}", "distill.teachers=[]", "warm_start.epochs=1", "warm_start.lr=8e-4", *study.short]
    config = load_config("tiny-opd", words)
    prepare_process(config.runtime.threads)
    episodes = []
    for family, teacher in both(study, seed).items():
        episodes += _played(study, config, family, teacher)
    kept = [e for e in episodes if not e.failed and (not only_solved or _is_good(e))]
    print(f"sft: {len(kept)} of {len(episodes)} episodes", file=sys.stderr, flush=True)
    # As many optimiser steps as a distillation makes, on rows of both families.
    batch = max(1, len(kept) // study.steps)
    config = config.model_copy(update={"warm_start": config.warm_start.model_copy(update={"batch_rows": batch})})
    model, tokenizer = load_trainable(start, config, "cpu"), load_tokenizer(start)
    imitation = Imitation(model, config, tokenizer=tokenizer, folder=study.out / f".sft-{folder.name}")
    imitation.train_on(kept, lambda step: None, lambda place: None)
    shutil.copytree(start, folder, dirs_exist_ok=True)
    (folder / "COMPLETE.json").unlink(missing_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    cost = {
        "sampled": sum(e.loss_tokens for e in episodes),
        "learned": sum(e.loss_tokens for e in kept),
        "trajectories": study.trajectories,
    }
    (folder / "cost.json").write_text(json.dumps(cost))
    return folder


def _is_good(episode: Any) -> bool:
    return bool(episode.raw_reward > 0) if episode.kind == "solve" else episode.outcome == "written"


def _played(study: Study, config: Any, family: str, teacher: Path) -> list[Any]:
    """A teacher's episodes in the training packs of its family, as many as its share of the distillation's."""
    import asyncio

    from codctl.cod.mixture import Mixture
    from codctl.cod.rollout import Player, play_all
    from codctl.train.setup import load_speaker, open_in_process, rollout_settings

    speaker = load_speaker(teacher, config.model.dtype, "cpu")
    packs = Mixture.of(config.world).packs("train", config.seed, 0, study.trajectories)
    own = [pack for pack in packs if pack.id.startswith(f"{family}/")]
    player = Player(open_in_process(config, speaker), speaker.chat, rollout_settings(config), config.seed)
    found = []
    for first in range(0, len(own), 64):
        found += asyncio.run(play_all(player, own[first : first + 64], 1, config.runtime.max_batch))
    return [episode for trajectory in found for episode in trajectory.episodes]


MODELS: dict[str, Callable[[Study, int], Path]] = {
    "start": start_of,
    "teacher-frozen_lake": lambda study, seed: teacher_of(study, "frozen_lake", seed),
    "teacher-alchemy": lambda study, seed: teacher_of(study, "alchemy", seed),
    "rl": rl,
    "sft-all": lambda study, seed: sft(study, seed, only_solved=False),
    "sft-successful": lambda study, seed: sft(study, seed, only_solved=True),
    "opd-sampled": lambda s, seed: distilled(s, "opd-sampled", seed, both(s, seed), "distill.estimator=sampled"),
    "opd-topk": lambda s, seed: distilled(s, "opd-topk", seed, both(s, seed), "distill.estimator=topk"),
    "opd-full": lambda s, seed: distilled(s, "opd-full", seed, both(s, seed)),
    "average": average,
    "opd-swapped": swapped,
    "opd-self": own_teacher,
}


# --- what comes of it ---------------------------------------------------------------------------------------------


def evaluated(study: Study, arm: str, seed: int) -> dict[str, Any]:
    """Success by position, by family and arm; the cost; kept in a file."""
    path = study.run("results") / f"{arm}-{seed}-{study.packs}.json"
    if not path.is_file():
        folder = MODELS[arm](study, seed)
        words = (f"packs={study.packs}", f"arms=[{','.join(EVALUATED)}]")  # in the worlds that it was trained on
        result = codctl("eval", "--model", str(folder), "--runs-dir", str(study.out), *words)
        curves = {
            part["family"]: {arm: [point["mean"] for point in one["success"]] for arm, one in part["arms"].items()}
            for part in result["parts"]
        }
        found: dict[str, Any] = {"cost": _cost(folder), "families": curves}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    found = json.loads(path.read_text())
    return dict(found)


def _cost(folder: Path) -> dict[str, float]:
    """Tokens sampled and learned from after the start, of a training or of `sft`."""
    if (folder / "cost.json").is_file():
        return dict(json.loads((folder / "cost.json").read_text()))
    steps = _metrics(folder.parents[2]) if folder.name == "final" else []
    learned = sum(one.get("distill/tokens", one["tokens/sampled"]) for one in steps)
    return {"sampled": sum(one["tokens/sampled"] for one in steps), "learned": learned}


def _metrics(run: Path) -> list[dict[str, float]]:
    """Of each step of a training, with what was measured of its speed."""
    path = run / "metrics.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.is_file() else ()
    return [{**record["timing"], **record["metrics"]} for record in lines if record["phase"] == "train"]


def table(study: Study, seeds: Sequence[int], arms: Sequence[str]) -> str:
    """One line for each arm; ± is the standard deviation between seeds."""
    found = {arm: [evaluated(study, arm, seed) for seed in seeds] for arm in ("start", *both_teachers(), *arms)}
    columns = [f"{family}: {what}" for family in FAMILIES for what in ("first", "last", "kept, last", "kept, all")]
    lines = ["| | " + " | ".join([*columns, "sampled", "learned"]) + " |", "|---" * (len(columns) + 3) + "|"]
    for arm, results in found.items():
        cells = []
        for family in FAMILIES:
            own = [one["families"][family]["own"] for one in results if family in one["families"]]
            starts = [one["families"][family]["own"] for one in found["start"]]
            taught = [one["families"][family]["own"] for one in found[f"teacher-{family}"]]
            three = list(zip(own, starts, taught, strict=True)) if own else []
            kept = [
                [_kept(*(curve[part] for curve in one)) for one in three] for part in (slice(-1, None), slice(None))
            ]
            cells += [_cell([one[0] for one in own]), _cell([one[-1] for one in own]), *map(_cell, kept)]
        costs = [_cell([one["cost"][name] for one in results], "{:,.0f}") for name in ("sampled", "learned")]
        lines.append("| " + " | ".join([ARMS[arm], *cells, *costs]) + " |")
    return "\n".join(lines)


def both_teachers() -> list[str]:
    return [f"teacher-{family}" for family in FAMILIES]


def _kept(student: Sequence[float], start: Sequence[float], teacher: Sequence[float]) -> float:
    gain = sum(teacher) - sum(start)
    return (sum(student) - sum(start)) / gain if gain > 0 else float("nan")


def _cell(values: Sequence[float], form: str = "{:.3f}") -> str:
    """Mean and spread; a dash where there is none, such as a share of no gain."""
    if not values or any(value != value for value in values):
        return "–"
    spread = f" ± {form.format(stdev(values))}" if len(values) > 1 else ""
    return form.format(fmean(values)) + spread


def checks(study: Study, seeds: Sequence[int], arms: Sequence[str]) -> list[str]:
    """What had to come out, said before: the criterion, and the controls."""
    lines = []
    for seed in seeds:
        if "opd-self" in arms:
            own = _metrics(study.run(f"opd-self-{seed}"))
            moved = max(max(one["grad_norm"], abs(one["distill/kl"]), abs(one["distill/kl_full"])) for one in own)
            lines.append(f"seed {seed}: its own teacher: largest gradient or reverse KL of {len(own)} steps: {moved:g}")
        if "opd-full" in arms:
            full = _metrics(study.run(f"opd-full-{seed}"))
            ends = " → ".join(f"{one['distill/kl_full']:.4f}" for one in (full[0], full[-1]))
            lines.append(f"seed {seed}: reverse KL on the student's own rollouts, first → last step: {ends}")
    for arm in [arm for arm in arms if arm.startswith("opd-")]:
        for family in FAMILIES:
            last = [
                [evaluated(study, which, seed)["families"][family]["own"][-1] for seed in seeds]
                for which in (arm, "start", f"teacher-{family}")
            ]
            mine, begun, best = map(fmean, last)
            kept = f"kept {(mine - begun) / (best - begun):.0%}" if best > begun else "which has gained nothing"
            lines.append(f"{arm}, {family}: last task {begun:.3f} → {mine:.3f}, teacher {best:.3f}, {kept}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--packs", type=int, default=500, help="test packs of each family")
    parser.add_argument("--steps", type=int, default=60, help="of a distillation")
    parser.add_argument("--at-once", type=int, default=64, help="packs of a step")
    trained = [arm for arm in ARMS if arm != "start" and not arm.startswith("teacher-")]
    parser.add_argument("--arms", nargs="+", choices=trained, default=trained)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of every training")
    parser.add_argument("--set-teachers", nargs="*", default=[], metavar="KEY=VALUE", help="the same of teachers")
    asked = parser.parse_args()
    study = Study(asked.out, asked.packs, asked.steps, asked.at_once, tuple(asked.set), tuple(asked.set_teachers))
    print(table(study, asked.seeds, asked.arms))
    print()
    print("\n".join(checks(study, asked.seeds, asked.arms)))


if __name__ == "__main__":
    main()
