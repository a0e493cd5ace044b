from __future__ import annotations

from pathlib import Path


def test_list_names_every_shipped_recipe(cli) -> None:
    from codctl.config.recipes import shipped_recipes

    found = cli("recipe", "list", "--json").json["result"]["recipes"]
    assert [entry["name"] for entry in found] == [recipe.name for recipe in shipped_recipes()]
    assert cli("recipe", "list").out.splitlines()[0].split() == ["recipe", "description"]


def test_show_prints_the_file_or_what_it_resolves_to(cli, micro: str) -> None:
    assert cli("recipe", "show", micro).out == Path(micro).read_text()
    resolved = cli("recipe", "show", micro, "--resolved").out
    assert "betas:\n  - 0.9\n" in resolved
    assert cli("recipe", "show", micro, "seed=4", "--json").json["result"]["config"]["seed"] == 4


def test_validate(cli, micro: str) -> None:
    outcome = cli("recipe", "validate", micro)
    assert outcome.code == 0
    assert outcome.out.startswith("micro.yaml is valid (digest ")
    result = cli("recipe", "validate", micro, "seed=1", "--json").json["result"]
    assert result["valid"]
    assert result["digest"] not in outcome.out


def test_explain_says_what_every_section_is_about(cli) -> None:
    heads = [
        line
        for line in cli("recipe", "explain", "train").out.splitlines()
        if line.startswith("train") and line.endswith(".")
    ]
    assert heads == [
        "train: CoD-Train, the RL stage.",
        "train.reward: Shaping of the solve reward.",
        "train.credit: Returns and advantages.",
        "train.loss: Policy loss.",
    ]
    assert cli("recipe", "explain", "health").out.startswith("health: Health gates")


def test_explain_a_key_a_section_and_everything(cli) -> None:
    assert cli("recipe", "explain", "train.loss.clip").out == (
        "train.loss.clip\n"
        "    Bound on the ratio to the sampling policy.\n"
        "    a number > 0 and < 1; default 0.2; training\n"
        "\n"
        "training  changes what is learned: another value makes another run\n"
    )
    every = cli("recipe", "explain", "lr").out
    assert [line for line in every.splitlines() if line.endswith(".lr")] == ["warm_start.lr", "train.lr"]
    assert "train: CoD-Train, the RL stage.\n" in cli("recipe", "explain").out
    assert [f["key"] for f in cli("recipe", "explain", "context", "--json").json["result"]["fields"]] == [
        "context.update",
        "context.on_parse_failure",
        "context.parse_failure_reward",
        "context.max_chars",
    ]
    assert len(cli("recipe", "explain", "--json").json["result"]["fields"]) > 50


def test_copy_then_refuse_to_overwrite(cli, micro: str) -> None:
    outcome = cli("recipe", "copy", micro, "own.yaml")
    assert outcome.out == "own.yaml\nnext: codctl train own.yaml\n"
    assert Path("own.yaml").read_text() == Path(micro).read_text()
    again = cli("recipe", "copy", micro, "own.yaml")
    assert (again.code, again.err) == (6, "error: own.yaml: the file exists\n  → give another file name\n")
