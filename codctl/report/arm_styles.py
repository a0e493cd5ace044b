"""How an arm or a reference looks in every chart: name, colour (a class of templates/style.css), dashes and mark."""

from __future__ import annotations

from codctl.cod.arms import title_of
from codctl.report.chart import Look

ARMS = {
    "own": ("own hints", Look("c-own", "", "circle")),
    "oracle": ("oracle", Look("c-oracle", "8 3", "diamond")),
    "history": ("history", Look("c-history", "2 3", "square")),
    "shuffled": ("shuffled", Look("c-shuffled", "8 3 2 3", "cross")),
    "none": ("no hints", Look("c-none", "4 3", "up")),
}
OTHER = Look("c-other", "1 3", "plus")
BEFORE = Look("c-before", "5 3", "down")
REFERENCES = {
    "informed": Look("c-informed", "1 4", "plus"),
    "bayes": Look("c-bayes", "2 4", "ring"),
    "random": Look("c-none", "1 4", "plus"),
}


def name_of(arm: str) -> str:
    return ARMS[arm][0] if arm in ARMS else title_of(arm)


def look_of(arm: str) -> Look:
    return ARMS[arm][1] if arm in ARMS else OTHER
