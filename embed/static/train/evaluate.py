"""The quality figures of a model: STS-B (Spearman × 100) and vaswani (nDCG@10, exact search)."""

import csv
import json
import pathlib

import numpy as np
from scipy.stats import spearmanr


def sts(shared: pathlib.Path, part: str, embed) -> float:
    with open(shared / "data" / "stsb" / f"stsb-en-{part}.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == 3]
    left, right = embed([row[0] for row in rows]), embed([row[1] for row in rows])
    return 100 * spearmanr((left * right).sum(axis=1), [float(row[2]) for row in rows]).statistic


def vaswani(shared: pathlib.Path, embed) -> float:
    folder = shared / "data" / "vaswani"
    texts = {}
    for name in ("corpus", "queries"):
        with open(folder / f"{name}.jsonl", encoding="utf-8") as file:
            texts[name] = {row["_id"]: row["text"] for row in map(json.loads, file)}
    relevant = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        relevant.setdefault(query, {})[document] = int(grade)
    documents = list(texts["corpus"])
    scores = embed(list(texts["queries"].values())) @ embed(list(texts["corpus"].values())).T
    discount = 1 / np.log2(np.arange(10) + 2)
    total = 0.0
    for query, row in zip(texts["queries"], scores, strict=True):
        grades = relevant.get(query, {})
        top = np.argsort(-row, kind="stable")[:10]
        gain = sum(grades.get(documents[d], 0) * discount[i] for i, d in enumerate(top))
        best = sum(g * d for g, d in zip(sorted(grades.values(), reverse=True), discount))
        total += gain / best if best else 0.0
    return total / len(scores)


def figures(shared: pathlib.Path, embed) -> dict[str, float]:
    """embed turns a list of texts into unit vectors [texts, dim]."""
    found = {f"stsb_{part}": sts(shared, part, embed) for part in ("dev", "train")}
    return found | {"vaswani": vaswani(shared, embed)}
