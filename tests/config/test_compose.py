"""A recipe and its overrides become a config, or every problem with them at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from codctl.config.compose import load_config
from codctl.errors import UsageError

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write_recipe(text: str, name: str = "mine.yaml") -> str:
        Path(name).write_text(text)
        return name

    return write_recipe


def problems_of(recipe: str, *overrides: str) -> list[tuple[str, str]]:
    with pytest.raises(UsageError) as caught:
        load_config(recipe, overrides)
    assert caught.value.exit_code == 2
    return [(problem.where, problem.message) for problem in caught.value.problems]


def test_defaults_recipe_and_overrides_are_layered(write: Write) -> None:
    config = load_config(write("seed: 3\ntrain:\n  lr: 1e-5\n  steps: 7\n"), ["train.steps=9", "model.lora.rank=8"])
    assert (config.seed, config.train.lr, config.train.steps, config.model.lora.rank) == (3, 1e-5, 9, 8)
    assert config.train.packs == 16


def test_a_recipe_without_a_name_is_named_after_its_file(write: Write) -> None:
    assert load_config(write("seed: 1\n", "my study, 2.yaml")).name == "my-study-2"
    assert load_config(write("name: other\n")).name == "other"


def test_packaged_groups_serve_recipes_outside_the_package(write: Write) -> None:
    by_defaults = load_config(write("defaults: [context: paper, _self_]\ncontext: {max_chars: 50}\n"))
    assert (by_defaults.context.on_parse_failure, by_defaults.context.max_chars) == ("wipe", 50)
    by_override = load_config(write("seed: 1\n"), ["context=paper", "context.max_chars=60"])
    assert (by_override.context.on_parse_failure, by_override.context.max_chars) == ("wipe", 60)


def test_interpolation_is_resolved(write: Write) -> None:
    assert load_config(write("seed: 5\nname: s${seed}\n")).name == "s5"


def test_nothing_global_is_left_behind(write: Write) -> None:
    before = Path.cwd()
    load_config(write("seed: 1\n"))
    with pytest.raises(UsageError):
        load_config(write("seed: x\n"))
    assert not GlobalHydra.instance().is_initialized()
    assert Path.cwd() == before
    assert [path.name for path in before.iterdir()] == ["mine.yaml"]


FILE_PROBLEMS = {
    "misspelt key": ("train:\n  lrr: 1\n", "mine.yaml:2", "unknown key train.lrr; did you mean train.lr?"),
    "misspelt section": ("trian: {lr: 1}\n", "mine.yaml:1", "unknown key trian; did you mean train?"),
    "key in the wrong section": (
        "seed: 1\nworld:\n  temperature: 1.0\n",
        "mine.yaml:3",
        "unknown key world.temperature; did you mean sampling.temperature?",
    ),
    "wrong type": ("train:\n  lr: abc\n", "mine.yaml:2", 'train.lr: expected a number > 0 and ≤ 1, got "abc"'),
    "number for text": (
        "world: {family: 5}\n",
        "mine.yaml:1",
        "world.family: expected text, got 5",
    ),
    "not a whole number": (
        "train: {steps: 2.5}\n",
        "mine.yaml:1",
        "train.steps: expected a whole number from 0 to 10,000,000, got 2.5",
    ),
    "yes is no truth value": (
        "train: {enabled: 'yes'}\n",
        "mine.yaml:1",
        'train.enabled: expected true or false, got "yes"',
    ),
    "out of range": (
        "train: {loss: {clip: 2}}\n",
        "mine.yaml:1",
        "train.loss.clip: expected a number > 0 and < 1, got 2",
    ),
    "unknown choice": (
        "train: {loss: {kind: ppo}}\n",
        "mine.yaml:1",
        'train.loss.kind: expected one of rec, grpo, gspo, cispo, or package.module:name, got "ppo"',
    ),
    "list of the wrong thing": (
        "train: {betas: [0.9, x]}\n",
        "mine.yaml:1",
        'train.betas: expected a list of 2 numbers ≥ 0 and < 1, got "x"',
    ),
    "misspelt key in a list": (
        "world:\n  mixture:\n    - {family: frozen_lake, wieght: 2.0}\n",
        "mine.yaml:3",
        "unknown key world.mixture.wieght; did you mean world.mixture.weight?",
    ),
    "a family twice": (
        "world:\n  mixture: [{preset: tiny}, {preset: easy}]\n",
        "mine.yaml:1",
        "world: the mixture has the family frozen_lake twice; results are kept by family",
    ),
    "text for a list": (
        "world:\n  mixture: frozen_lake\n",
        "mine.yaml:2",
        "world.mixture: expected a list of sections with keys family, preset, variant, options, weight, turn_penalty, "
        'got "frozen_lake"',
    ),
    "value for a section": (
        "\nmodel: {lora: 8}\n",
        "mine.yaml:2",
        "model.lora: expected a section with keys rank, alpha, target, got 8",
    ),
    "values that do not fit together": (
        "model: {build: {heads: 3, kv_heads: 2}}\n",
        "mine.yaml:1",
        "model.build.kv_heads: heads=3 is not a multiple of kv_heads=2",
    ),
    "code to run": ("train: {_target_: os.system}\n", "mine.yaml:1", "unknown key train._target_"),
    "Hydra's own section": (
        "hydra: {run: {dir: /tmp}}\n",
        "mine.yaml",
        'of "hydra" a recipe may only set hydra.searchpath',
    ),
    "broken YAML": ("seed: [1\nname: x\n", "mine.yaml:2", "broken YAML: expected ',' or ']', but got ':'"),
    "key twice": ("seed: 1\nseed: 2\n", "mine.yaml:2", "broken YAML: found duplicate key seed"),
    "no mapping": ("- 1\n", "mine.yaml", "a recipe is a mapping of keys to values"),
    "unknown interpolation": ("seed: ${nope}\n", "mine.yaml:1", "seed: Interpolation key 'nope' not found"),
    "missing value": ("\nseed: ???\n", "mine.yaml:2", "seed: Missing mandatory value: seed"),
    "unknown group": ("defaults: [contxt: paper]\n", "mine.yaml", "In 'mine': Could not find 'contxt/paper'"),
}


@pytest.mark.parametrize(("text", "where", "message"), FILE_PROBLEMS.values(), ids=FILE_PROBLEMS)
def test_problem_in_a_recipe(write: Write, text: str, where: str, message: str) -> None:
    assert problems_of(write(text)) == [(where, message)]


OVERRIDE_PROBLEMS = {
    "train.lrr=1": "unknown key train.lrr; did you mean train.lr?",
    "+train.lrr=1": "unknown key train.lrr; did you mean train.lr?",
    "++new.key=1": "unknown key new",
    "train.lr.x=1": 'train.lr: expected a number > 0 and ≤ 1, got {"x": 1}',
    "train.lr=abc": 'train.lr: expected a number > 0 and ≤ 1, got "abc"',
    "train=null": "train: expected a section with keys",
    "train.lr=": 'train.lr: expected a number > 0 and ≤ 1, got ""',
    "seed=-1": "seed: expected a whole number from 0 to 4,294,967,295, got -1",
    "seed=1,2": "seed takes one value",
    "seed=range(3)": "seed takes one value",
    "~seed": "a key cannot be removed; give it another value",
    "a@b=c": 'expected key=value; "@" has no meaning here',
    "hydra.run.dir=x": 'unknown key "hydra"',
    "train.lr": 'expected key=value, got "train.lr"',
    "train.lr=1e-5,": "cannot be read as key=value",
    "train._target_=os.system": "unknown key train._target_",
}


@pytest.mark.parametrize(("override", "message"), OVERRIDE_PROBLEMS.items(), ids=OVERRIDE_PROBLEMS)
def test_problem_in_an_override(write: Write, override: str, message: str) -> None:
    [(where, found)] = problems_of(write("seed: 1\n"), override)
    assert where == f"override {override}"
    assert found.startswith(message)


def test_unknown_option_of_a_group_lists_the_options(write: Write) -> None:
    [(_, message)] = problems_of(write("seed: 1\n"), "context=papr")
    assert message == "In 'mine': Could not find 'context/papr' Available options in 'context': paper"


def test_all_problems_are_reported_at_once_recipe_first(write: Write) -> None:
    recipe = write("name: 12\nworld: {renderin: compact}\ntrain:\n  lr: abc\n  steps: -1\n")
    found = problems_of(recipe, "train.lrr=1", "seed=x", "seed=2", "y")
    assert [where for where, _ in found] == [
        "mine.yaml:1",
        "mine.yaml:2",
        "mine.yaml:4",
        "mine.yaml:5",
        "override train.lrr=1",
        "override seed=x",
        "override seed=2",
        "override y",
    ]


def test_a_number_where_text_is_wanted_says_how_to_quote_it(write: Write) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(write("seed: 1\n"), ["name=12"])
    assert caught.value.hint == "quote it: 'name=\"12\"'"
    assert load_config("mine.yaml", ['name="12"']).name == "12"


def test_missing_recipe_names_the_nearest_file(write: Write) -> None:
    write("seed: 1\n")
    [(_, message)] = problems_of("mime.yaml")
    assert message == 'there is no recipe "mime.yaml", neither a file nor a shipped one; did you mean "mine.yaml"?'


def test_other_things_that_are_no_recipe(write: Write, tmp_path: Path) -> None:
    assert problems_of(str(tmp_path))[0][1].endswith("is a folder; a recipe is a .yaml file")
    assert problems_of(write("seed: 1\n", "mine.yml"))[0][1] == (
        'a recipe\'s file name ends in .yaml; "mine.yml" does not'
    )
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert problems_of("binary.yaml")[0][1].startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("cluster: {time: 12:30}", "cluster.time: YAML reads 12:30 as 750", 'put it into quotes; a time is "H:MM:SS"'),
        ("train: {steps: 010}", "train.steps: YAML reads 010 as 8", 'quote it: "010", or leave the 0 out'),
        (
            "cluster: {account: 0123}",
            "cluster.account: YAML reads 0123 as 83",
            'quote it: "0123", or leave the 0 out',
        ),
        (
            "name: 1e5",
            "name: expected text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, got 100000.0",
            'quote it: "1e5"',
        ),
        (
            "seed: ${oc.env:NOT_SET_ANYWHERE,7}",
            'seed: expected a whole number from 0 to 4,294,967,295, got "7"',
            "leave the quotes out; from the environment: ${oc.decode:${oc.env:NAME}}",
        ),
        (
            "model: {path: ~/models}",
            "model.path: the shell did not expand the ~ in ~/models",
            f"model.path={Path.home()}/models",
        ),
    ],
)
def test_what_yaml_reads_otherwise_than_people(write, written: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(write(written))
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("=1", 'expected key=value, got "=1"', ""),
        ("qqqq=1", "unknown key qqqq", "codctl recipe explain lists all keys"),
        ("name=1e5", "name: expected text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$, got 100000.0", "'name=\"1e5\"'"),
        (
            "model.path=~/models",
            "cannot be read as key=value",
            f"write the full path: model.path={Path.home()}/models",
        ),
        (
            "description=it's",
            "cannot be read as key=value",
            "text with special characters is quoted twice: " + shlex.quote('description="it\'s"'),
        ),
        (
            "seed=0..2",
            "seed takes one value",
            "`codctl sweep tiny seed=0..2` trains with each of them; a list is written 'seed=[a,b]'",
        ),
        (
            "seed=range(3)",
            "seed takes one value",
            "`codctl sweep tiny 'seed=range(3)'` trains with each of them; a list is written 'seed=[a,b]'",
        ),
    ],
)
def test_an_override_that_fails_says_what_to_type(typed: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config("tiny", [typed])
    assert caught.value.message == message
    assert hint in caught.value.hint
