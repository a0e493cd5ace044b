"""Size and shape of `codctl/` now and, beside it, at commits: `python experiments/house/count.py --commit HEAD~9`."""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import tarfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
Sources = dict[str, str]
# The keys of an evaluation's result that a file would read by hand.
EVALUATION_KEYS = {
    "ceiling_curves",
    "hint_correctness",
    "shaped_reward",
    "failed_episodes",
    "to_play_again",
    "outcomes",
}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


def working_tree() -> Sources:
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "codctl").rglob("*.py"))}


def commit(name: str) -> Sources:
    done = subprocess.run(["git", "-C", str(ROOT), "archive", name, "codctl"], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        members = [member for member in archive if member.isfile() and member.name.endswith(".py")]
        return {member.name: archive.extractfile(member).read().decode() for member in members}  # type: ignore[union-attr]


def count(sources: Sources) -> dict[str, object]:
    """A row of the table for each measure."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    lengths = sorted(
        function.end_lineno - function.lineno + 1 for tree in trees.values() for function in functions(tree)
    )  # type: ignore[operator]
    files = [len(text.splitlines()) for text in sources.values()]
    doubles = [
        name for name, times in Counter(n for tree in trees.values() for n in public_names(tree)).items() if times > 1
    ]
    return {
        "files": len(files),
        "lines": sum(files),
        "lines of code": sum(map(code_lines, sources.values())),
        "longest file": max(files),
        "median file": round(statistics.median(files)),
        "functions": len(lengths),
        "longest function": lengths[-1],
        "95th percentile of functions": lengths[len(lengths) * 95 // 100],
        "median function": round(statistics.median(lengths)),
        "files that mention dict[str, Any]": sum("dict[str, Any]" in text for text in sources.values()),
        "public names that stand twice": len(doubles),
        "files that read an evaluation by string keys": sum(map(reads_an_evaluation, trees.values())),
    }


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def public_names(tree: ast.Module) -> Iterator[str]:
    """Classes and functions at the top of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return (node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_"))


def code_lines(text: str) -> int:
    """Lines with code on them: no blank lines, comments or docstrings."""
    found: set[int] = set()
    is_first = True  # a string at the beginning of a statement is a docstring
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _NO_CODE:
            is_first = is_first or token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        elif not (is_first and token.type == tokenize.STRING):
            found |= set(range(token.start[0], token.end[0] + 1))
            is_first = False
    return len(found)


def reads_an_evaluation(tree: ast.AST) -> bool:
    """Whether a file looks one of the keys up: `x["key"]`, `x.get("key")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key: ast.expr | None = node.slice
        elif isinstance(node, ast.Call) and re.search(r"\.get$", ast.unparse(node.func)) and node.args:
            key = node.args[0]
        else:
            continue
        if isinstance(key, ast.Constant) and key.value in EVALUATION_KEYS:
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", action="append", default=[], help="a commit to count, too; may be given again")
    columns = {**{name: count(commit(name)) for name in parser.parse_args().commit}, "now": count(working_tree())}
    width = max(map(len, columns["now"]))
    print(" " * width, *(f"{name[:12]:>12}" for name in columns))
    for row in columns["now"]:
        print(f"{row:{width}}", *(f"{values[row]:>12,}" for values in columns.values()))


if __name__ == "__main__":
    main()
