"""Wrong input: one message, the exit code, no traceback, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

FAMILIES = "frozen_lake, alchemy, terminal, grid_navigation, learn2ask, pde_discovery, optimal_control"

# argv, exit code, stderr. `micro.yaml` is a valid recipe, `bad.yaml` is not.
TABLE = {
    "no such command": (["trian"], 2, "error: No such command 'trian'; did you mean 'train'?\n  → codctl --help\n"),
    "no such option": (
        ["train", "micro.yaml", "--wings"],
        2,
        "error: No such option: --wings\n  → codctl train --help\n",
    ),
    "an option misspelt": (
        ["train", "micro.yaml", "--slrum"],
        2,
        "error: No such option: --slrum (Possible options: --slurm)\n  → codctl train --help\n",
    ),
    "no recipe given": (["train"], 2, "error: Missing argument 'RECIPE'\n  → codctl train --help\n"),
    "missing recipe": (
        ["train", "micr.yaml"],
        2,
        'error: there is no recipe "micr.yaml", neither a file nor a shipped one; did you mean "micro.yaml"?\n'
        "  → codctl recipe list\n",
    ),
    "misspelt override": (
        ["train", "micro.yaml", "train.lrr=1"],
        2,
        "error: override train.lrr=1: unknown key train.lrr; did you mean train.lr?\n"
        "  → codctl recipe explain train.lr\n",
    ),
    "several problems at once": (
        ["train", "bad.yaml", "seed=-1", "nonsense"],
        2,
        "error: 4 problems with bad.yaml\n"
        "  bad.yaml:2: unknown key train.stps; did you mean train.steps?\n"
        "    → codctl recipe explain train.steps\n"
        '  bad.yaml:3: train.lr: expected a number > 0 and ≤ 1, got "abc"\n'
        "  override seed=-1: seed: expected a whole number from 0 to 4,294,967,295, got -1\n"
        '  override nonsense: expected key=value, got "nonsense"\n',
    ),
    "name given twice": (
        ["train", "micro.yaml", "--name", "a", "name=b"],
        2,
        'error: override name="a": name is given twice\n',
    ),
    "name that is a path": (
        ["train", "micro.yaml", "--name", "../x"],
        2,
        'error: override name="../x": name: expected text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, got "../x"\n',
    ),
    "unknown family": (
        ["train", "micro.yaml", "world.family=frozen_lak"],
        2,
        f"error: unknown family 'frozen_lak'; did you mean 'frozen_lake'? (known: {FAMILIES})\n  → codctl env list\n",
    ),
    "unknown preset": (
        ["train", "micro.yaml", "world.preset=esy"],
        2,
        "error: unknown preset of frozen_lake 'esy'; did you mean 'easy'? (known: tiny, easy, hard)\n"
        "  → codctl env list\n",
    ),
    "unknown arm in a recipe": (
        ["train", "micro.yaml", "evaluation.arms=[own,orakel]"],
        2,
        "error: unknown arm 'orakel'; did you mean 'oracle'? (known: own, none, shuffled, oracle, history)\n",
    ),
    "unknown suite": (
        ["eval", "--suite", "position-curv", "--policy", "bayes"],
        2,
        "error: unknown suite 'position-curv'; did you mean 'position-curve'? (known: position-curve, in-domain-hard, "
        "cross-domain, ralph-loop, long-life, robustness, published)\n  → codctl eval --list\n",
    ),
    "unknown arm": (
        ["eval", "--policy", "bayes", "arms=[onw]"],
        2,
        "error: unknown arm 'onw'; did you mean 'own'? (known: own, none, shuffled, oracle, history)\n",
    ),
    "unknown policy": (
        ["eval", "--policy", "bays"],
        2,
        "error: unknown policy of frozen_lake 'bays'; did you mean 'bayes'? (known: bayes, informed, random)\n"
        "  → codctl env list\n",
    ),
    "two subjects": (
        ["eval", "--policy", "bayes", "--run", "x"],
        2,
        "error: --run and --policy name different models\n  → give one of them\n",
    ),
    "no subject": (
        ["eval"],
        2,
        "error: say which model is evaluated: --run, --model, --policy or --endpoint\n"
        "  → no run in runs has saved a model: ",
    ),
    "misspelt world of an evaluation": (
        ["eval", "--policy", "bayes", "presett=hard", "length=99"],
        2,
        "error: 2 problems with the command line\n"
        "  override presett=hard: unknown key presett; did you mean preset?\n"
        "  override length=99: length: expected a whole number from 1 to 64, got 99\n",
    ),
    "limit and packs": (
        ["eval", "--policy", "bayes", "packs=3", "--limit", "5"],
        2,
        "error: --limit 5 and packs=3 both set the number of packs\n  → give one of them\n",
    ),
    "name of a part": (
        ["eval", "--policy", "bayes", "name=x"],
        2,
        "error: override name=x: name: the suite names its evaluations\n",
    ),
    "a key that no part can use": (
        ["eval", "--policy", "bayes", "poison=0.3"],
        2,
        "error: override poison=0.3: poison belongs to strategy poison, which no evaluation of this suite plays\n"
        "  → strategy=poison\n",
    ),
    "drift beyond the pack": (
        ["eval", "--policy", "bayes", "strategy=drift", "drift_at=4"],
        2,
        "error: curve/frozen_lake-easy: drift_at must be between 1 and 3 for packs of 4, got 4\n  → drift_at=2\n",
    ),
    "a suite file that is not there": (
        ["eval", "--policy", "bayes", "--suite", "mine.yaml"],
        2,
        "error: no suite file mine.yaml\n  → codctl eval --list\n",
    ),
    "endpoint without a model": (
        ["eval", "--endpoint", "http://localhost:1/v1"],
        2,
        "error: --endpoint needs --model-name\n  → --endpoint http://localhost:1/v1 --model-name NAME\n",
    ),
    "price without an endpoint": (
        ["eval", "--policy", "bayes", "--price", "1,2"],
        2,
        "error: --price is for --endpoint\n  → --endpoint URL --price …\n",
    ),
    "a price that is no price": (
        ["eval", "--endpoint", "http://localhost:1/v1", "--model-name", "m", "--price", "cheap"],
        2,
        'error: --price: expected two prices, got "cheap"\n  → --price 0.15,0.60\n',
    ),
    "unknown run": (
        ["runs", "show", "nope"],
        2,
        "error: runs: no run named 'nope'\n  → `codctl runs list` lists the runs\n",
    ),
    "report on an unknown run": (
        ["report", "nope"],
        2,
        "error: runs: no run named 'nope'\n  → `codctl runs list` lists the runs\n",
    ),
    "credit of an unknown run": (
        ["credit", "nope"],
        2,
        "error: runs: no run named 'nope'\n  → `codctl runs list` lists the runs\n",
    ),
    "model folder that is not there": (
        ["eval", "--model", "nowhere"],
        3,
        "error: no model folder at nowhere\n  → give a local Hugging Face folder\n",
    ),
    "model folder without a tokenizer": (["train", "micro.yaml", "model.path=empty"], 3, "error: empty: "),
    "unknown key to explain": (
        ["recipe", "explain", "train.stps"],
        2,
        'error: a recipe has no key "train.stps"; did you mean "train.steps"?\n  → codctl recipe explain train.steps\n',
    ),
    "unknown family to play": (
        ["env", "play", "lake"],
        2,
        f"error: unknown family 'lake'; did you mean 'frozen_lake'? (known: {FAMILIES})\n  → codctl env list\n",
    ),
    "unknown preset to generate": (
        ["env", "generate", "frozen_lake", "--preset", "tinny"],
        2,
        "error: unknown preset of frozen_lake 'tinny'; did you mean 'tiny'? (known: tiny, easy, hard)\n"
        "  → codctl env list\n",
    ),
}


@pytest.fixture
def inputs(home: Path, micro: str) -> set[str]:
    (home / "bad.yaml").write_text("train:\n  stps: 1\n  lr: abc\n")
    (home / "empty").mkdir()
    return {"bad.yaml", "empty", micro}


@pytest.mark.parametrize(("argv", "code", "message"), TABLE.values(), ids=TABLE)
def test_one_message_and_nothing_written(cli, home: Path, inputs: set[str], argv, code: int, message: str) -> None:
    outcome = cli(*argv)
    assert outcome.code == code
    assert outcome.out == ""
    assert outcome.err.startswith(message)
    assert "Traceback" not in outcome.err
    assert {path.name for path in home.iterdir()} == inputs
    assert not list((home / "empty").iterdir())


@pytest.mark.parametrize(("argv", "code", "message"), TABLE.values(), ids=TABLE)
def test_with_json_the_error_is_one_object_on_stdout(cli, inputs: set[str], argv, code: int, message: str) -> None:
    outcome = cli(*argv, "--json")
    assert outcome.code == code
    assert outcome.json["schema"] == 1
    assert set(outcome.json["error"]) == {"kind", "message", "hint", "where", "problems"}
    assert outcome.json["error"]["kind"] == {2: "usage", 3: "preflight"}[code]
    assert outcome.err == ""


def test_json_errors_name_command_and_all_problems(cli, inputs: set[str]) -> None:
    found = cli("recipe", "validate", "bad.yaml", "--json").json
    assert found["command"] == "recipe validate"
    assert found["error"]["problems"] == [
        {
            "message": "unknown key train.stps; did you mean train.steps?",
            "where": "bad.yaml:2",
            "hint": "codctl recipe explain train.steps",
        },
        {"message": 'train.lr: expected a number > 0 and ≤ 1, got "abc"', "where": "bad.yaml:3", "hint": ""},
    ]


def test_a_bare_command_shows_its_help_on_stderr(cli) -> None:
    for argv in ([], ["env"], ["runs"], ["recipe"]):
        outcome = cli(*argv)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("Usage: codctl")


def test_an_unexpected_error_keeps_its_traceback(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("codctl.envs.registry.families", broken)
    outcome = cli("env", "list")
    assert outcome.code == 1
    assert outcome.err.endswith("ZeroDivisionError: oh\n")
    assert "typer" not in outcome.err
    assert cli("env", "list", "--json").json["error"]["kind"] == "unexpected"


def test_ctrl_c_says_how_to_go_on(cli, micro: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codctl.train.preflight.preflight", interrupted)
    outcome = cli("train", micro, "--fresh", "seed=3")
    assert outcome.code == 130
    assert outcome.err == "error: interrupted\n  → the same command continues: codctl train micro.yaml seed=3\n"


def test_colour_only_where_it_is_wanted(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033[" not in cli("runs", "show", "nope").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033[1;31merror: \033[0m" in cli("runs", "show", "nope").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in cli("runs", "show", "nope").err


@pytest.fixture
def model(home: Path, trained) -> Path:
    """A sound model folder to spoil."""
    import shutil

    return Path(shutil.copytree(trained.runs_dir / "micro" / "stages" / "model", home / "model"))


def test_model_folder_without_tokenizer(cli, micro: str, model: Path) -> None:
    for path in model.glob("tokenizer*"):
        path.unlink()
    for argv in (["train", micro, "model.path=model"], ["eval", "--model", "model"]):
        outcome = cli(*argv)
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("error: model: the model folder has no tokenizer (tokenizer.json)\n  → ")


def test_model_folder_whose_template_renders_no_conversation(cli, micro: str, model: Path) -> None:
    (model / "chat_template.jinja").write_text(
        "{% if messages | length > 2 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0].content }}"
    )
    for argv in (["train", micro, "model.path=model"], ["eval", "--model", "model"]):
        outcome = cli(*argv)
        assert (outcome.code, outcome.out) == (3, "")
        assert (
            "error: model: the chat template cannot render a conversation of several turns: one turn only"
            in outcome.err
        )
        assert "Traceback" not in outcome.err
