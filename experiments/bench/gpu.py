"""What one GPU can show in ten minutes: speed and memory beside the planner, profiles, a training, the tiny recipe.

    make bench-gpu            (.venv/bin/python experiments/bench/gpu.py --minutes 10 --out gpu-results)

SmolLM2-135M and Qwen3-8B have random weights; no download. codctl also trains SmolLM2-135M for a few steps, that of
`--folder` where one is given. Each part is a process with a limit of its own, so that one that fails or hangs costs
only itself; what no time is left for is left out and said. Writes gpu.json, gpu.md, and rates.json: the planner's
figures as measured here, for `codctl plan RECIPE --rates gpu-results/rates.json`. `--device cpu --layers 2 --width 64`
tries the whole of it with a model of no size. Without a GPU it ends with status 3.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import machine_line, markdown

from codctl.plan.rates import rates_for

PARTS = {  # the most seconds of each within ten minutes, in the order of how much it tells
    "rates": 60,
    "smol_generate": 90,
    "smol_learn": 90,
    "generate": 120,
    "lora": 120,
    "pretrained": 180,
    "vllm": 180,
    "full": 120,
    "tiny": 300,
}
LEAST_S = 20.0  # no part is begun with less
PLAN_WITHIN = 0.15  # of the memory used
SAID = 1500  # characters of a failed part's last words


def run_part(name: str, setting: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """One part's figures, or why there are none."""
    if limit_s < LEAST_S:
        return {"skipped": "no time left"}
    started = time.monotonic()
    command = [sys.executable, str(Path(__file__).with_name("gpu_parts.py")), name, json.dumps(setting)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {limit_s:.0f} s"}
    finally:
        _end(process)
    if process.returncode:
        return {"failed": err[-SAID:] or f"status {process.returncode}"}
    return {**json.loads(out.splitlines()[-1]), "seconds": time.monotonic() - started}


def _end(process: subprocess.Popen[str]) -> None:
    """With all that it started (it leads a group of its own)."""
    if process.poll() is None:
        import os

        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def report(machine: str, command: str, found: dict[str, dict[str, Any]]) -> str:
    lines = [machine, "", f"    {command}", ""]
    learners = {name: found[name] for name in ("smol_learn", "lora", "full") if "step_s" in found.get(name, {})}
    if learners:
        rows = [
            [
                f"{name}, {part['model']}",
                f"{part['parameters']:,}",
                f"{part['tokens_per_s']:,.0f}",
                f"{part['tflops']:.3g}",
                _share(part["share_of_measured_peak"]),
                _share(part["share_of_data_sheet"]),
                f"{part['used_gib']:.2f}",
                f"{part['planned_gib']:.2f}",
                f"{part['plan_over_used'] - 1:+.0%}" + (" ✗" if abs(part["plan_over_used"] - 1) > PLAN_WITHIN else ""),
            ]
            for name, part in learners.items()
        ]
        headers = [
            "step",
            "parameters",
            "tokens/s",
            "TFLOP/s",
            "of matmul",
            "of data sheet",
            "GiB used",
            "GiB planned",
            "plan off by",
        ]
        lines += [markdown(headers, rows), ""]
    speakers = {
        name: found[name] for name in ("smol_generate", "generate", "vllm") if "ms_per_token" in found.get(name, {})
    }
    if speakers:
        rows = [
            [
                "vllm" if name == "vllm" else "transformers engine",
                part["model"],
                part["rows"],
                f"{part['prompt']} + {part['reply']}",
                f"{part['prompt_tokens_per_s']:,.0f}",
                f"{part['new_tokens_per_s']:,.0f}",
                f"{part['ms_per_token']:.1f}",
                f"{part['passes']} ({part['least_passes']})" if "passes" in part else "",
                f"{part['used_gib']:.2f} / {part['planned_gib']:.2f}" if "used_gib" in part else "",
            ]
            for name, part in speakers.items()
        ]
        headers = [
            "engine",
            "model",
            "sequences",
            "tokens",
            "prompt tokens/s",
            "new tokens/s",
            "ms a pass",
            "passes (fewest)",
            "GiB used / planned",
        ]
        lines += [markdown(headers, rows), ""]
    if measured := measured_rates(found):
        rows = [[name, one.meaning, f"{one.value:.3g}", f"{measured[name]:.3g}", one.unit]
                for name, one in rates_for(None).table.items() if name in measured]  # fmt: skip
        lines += [markdown(["rate", "what it is", "planned", "measured", ""], rows), ""]
    for one in found.get("pretrained", {}).get("renderings", ()):
        rows = [[name, f"{used:,.3g}", f"{plan:,.3g}", f"{plan / used - 1:+.0%}"] for name, used, plan in one["step"]]
        title = f"smollm2-135m, rendering {one['rendering']}, {one['seconds']:,.0f} s in all:"
        lines += [title, "", markdown(["", "measured", "planned", "plan off by"], rows), ""]
    for name, part in found.items():
        if "top" in part:
            rows = [
                [f"{top['share']:.0%}", f"{top['ms']:.1f}", top["calls"], f"`{top['name']}`"] for top in part["top"]
            ]
            busy = f"{part['kernels']:,} kernels, which keep the device busy for {part['busy']:.0%} of the time"
            lines += [f"Top of {name}, {busy}:", "", markdown(["share", "ms", "calls", "kernel"], rows), ""]
    for name, part in found.items():
        shown = {key: value for key, value in part.items() if key in ("skipped", "failed")}
        if name in ("rates", "tiny") or shown:
            lines.append(f"* {name}: {json.dumps(shown or part)}")
    return "\n".join(lines) + "\n"


def measured_rates(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The planner's figures as measured: by the largest model where several tell the same."""
    rates: dict[str, float] = {}
    for name in ("rates", "smol_generate", "smol_learn", "lora", "full", "generate", "vllm"):
        rates |= found.get(name, {}).get("rates", {})
    return rates


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of all parts together")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of gpu.json and gpu.md")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--model", default="Qwen/Qwen3-8B", help="a size that codctl knows")
    parser.add_argument("--rows", type=int, default=64, help="sequences generated at once")
    parser.add_argument("--layers", type=int, default=0, help="a model of no size instead, with so many layers")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tiny", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the tiny recipe")
    parser.add_argument("--attention", default="auto", help="as model.attention, in all parts but the tiny recipe")
    parser.add_argument("--renderings", nargs="+", default=["terse"], help="in which SmolLM2-135M is trained")
    parser.add_argument("--folder", default="", help="model folder of SmolLM2-135M-Instruct, instead of random weights")
    parser.add_argument("--pretrained", nargs="*", default=[], metavar="KEY=VALUE", help="changes to that training")
    options = parser.parse_args()
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("bench-gpu: torch sees no GPU; run it where there is one (or try it: --device cpu --layers 2)")
        sys.exit(3)
    deadline = time.monotonic() + 60 * options.minutes
    kept = ("device", "model", "rows", "layers", "width", "tiny", "pretrained", "attention", "renderings")
    setting: dict[str, Any] = {**{key: getattr(options, key) for key in kept}, "threads": 1 if options.layers else 8}
    setting["folder"] = str(Path(options.folder).resolve()) if options.folder else ""
    machine, found = machine_line(), {}
    command = " ".join([".venv/bin/python experiments/bench/gpu.py", *sys.argv[1:]])
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.parts:
        print(f"{name} …", file=sys.stderr, flush=True)
        found[name] = run_part(
            name, setting, min(PARTS[name] * max(1.0, options.minutes / 10), deadline - time.monotonic())
        )
        setting["tflops"] = found.get("rates", {}).get("tflops")
        result = {"machine": machine, "command": command, "parts": found}
        (options.out / "gpu.json").write_text(json.dumps(result, indent=2) + "\n")
        (options.out / "gpu.md").write_text(report(machine, command, found))
        (options.out / "rates.json").write_text(json.dumps(measured_rates(found), indent=2) + "\n")
    print((options.out / "gpu.md").read_text())
    sys.exit(1 if any("failed" in part for part in found.values()) else 0)


if __name__ == "__main__":
    main()
