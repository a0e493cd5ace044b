"""Command lines whose JSON is frozen, and command lines that are refused, all in one small folder of runs."""

from __future__ import annotations

SUITES = ("position-curve", "in-domain-hard", "cross-domain", "ralph-loop", "long-life", "robustness", "published")

# One line for each command that has --json, in this order. EVAL and OTHER are evaluations of scripted policies.
COMMANDS = """\
status
runs list --all
runs show small
runs compare small lora
runs clean
runs status small
runs cancel small
runs resume small
runs logs small
logs small
cancel small
resume small
sync small
report small
view small
view small --typical
view EVAL --limit 1
credit small
evals list
evals show EVAL
evals compare EVAL OTHER
evals rm GONE --yes
eval --list
eval --run small preset=tiny length=2 packs=2 arms=[own]
train small.yaml --name planned --dry-run SHORT
plan small.yaml SHORT
train small.yaml --name small SHORT
sweep small.yaml seed=0..1 --dry-run
recipe list
recipe show tiny
recipe validate tiny
recipe explain train.lr
recipe copy tiny copied.yaml
env list
env play alchemy --preset easy --policy bayes
env generate frozen_lake --packs 2 --out generated
env demonstrate frozen_lake --policy bayes --packs 2
env validate frozen_lake --preset tiny --packs 10
env prompts frozen_lake --rendering terse
env ceilings terminal --packs 10
docs
docs scaling
doctor""".splitlines()
# What these show depends on the bits of floats that a CPU computes, as does what they show of the run `small`.
OF_A_MODEL = {"eval", "evals list", "runs list", "status"}
# Of these, only the names of what they show: the rest is the machine's, or a page that anybody may edit.
PLAN = "train small.yaml --name planned --dry-run SHORT"
BY_NAMES = {PLAN, "plan small.yaml SHORT", "doctor", "docs", "docs scaling", "recipe list", "recipe show tiny"}
# What needs the gguf extra, or files of Trinity-RFT (tests/cli/test_import.py).
WITHOUT_GOLDEN = {"model from-gguf", "import trinity", "import trinity-data", "import trinity-logs", "export trinity"}
WITHOUT_GOLDEN |= {"import sessions", "export atif", "push"}  # likewise, and tests/neighbours/test_push.py
# With moments and places in them: tests/cli/test_context.py, tests/deploy, and those of ralph.
_VERBS = ("show", "log", "diff", "rollback", "edit", "update", "export", "import", "unexport")
WITHOUT_GOLDEN |= {"deploy", "ralph", *(f"context {verb}" for verb in _VERBS)}

# Words, and what they are refused for. `small` is a finished run, `bad.yaml` a recipe with faults.
REFUSALS = """\
trian
train
train small.yaml --wings
train smal.yaml
train small.yaml train.lrr=1
train bad.yaml seed=-1 nonsense
train small.yaml world.family=frozen_lak
train small.yaml --name ../x
train small.yaml train.loss.kind=grop
train small.yaml train.credit.scale=no
train small.yaml engine.kind=vlm
train small.yaml model.path=nowhere
train small.yaml model.device=cuda
train small.yaml --name small train.lr=2e-3 SHORT
train small.yaml --name small seed=7
train small.yaml --slurm
sweep small.yaml train.lrr=1,2
eval
eval --policy bays
eval --policy bayes --run small
eval --policy bayes --suite position-curv
eval --policy bayes arms=[onw]
eval --policy bayes strategy=drift drift_at=9
eval --model nowhere
eval --endpoint http://127.0.0.1:9/v1
eval --endpoint http://127.0.0.1:9/v1 --model-name none --limit 1
env play nowhere
env validate frozen_lake --preset huge
runs show nope
logs nope
cancel nope
resume nope
view small --step 99
credit small --step 99
evals show nope
recipe explain train.lrr
recipe copy tiny small.yaml
docs scalin""".splitlines()
BAD = "train:\n  stps: 3\n  lr: abc\n"
