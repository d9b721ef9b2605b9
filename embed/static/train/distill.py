"""Learns one vector per token such that the sum over a text points where the teacher's vector of it points.

Three steps, each starting from the one before: every token alone through the teacher, weighted by rarity; a ridge
regression; Adam on the angle to the teacher and on the similarities inside a batch.
"""

import dataclasses

import numpy as np
from scipy import sparse

DIM = 256
SEED = 1


def principal_axes(vectors: np.ndarray) -> np.ndarray:
    """Returns [width, DIM]: the orthonormal axes on which the vectors have most of their (uncentred) energy."""
    values, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    axes = axes[:, np.argsort(-values)[:DIM]]
    # The sign of an eigenvector is arbitrary: fix it, so that the same input gives the same file.
    return (axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])).astype(np.float32)


def rarity(counts: np.ndarray, floor: float = 1e-4) -> np.ndarray:
    """SIF weights (Arora et al. 2017) from the counts of the tokens in the texts, smoothed by one."""
    share = (counts + 1) / (counts + 1).sum()
    return (floor / (floor + share)).astype(np.float32)


def count_matrix(token_ids: list[list[int]], rows: int) -> sparse.csr_matrix:
    """Returns [texts, rows]: how often each token stands in each text; ids below 0 are left out."""
    known = [[t for t in ids if t >= 0] for ids in token_ids]
    starts = np.cumsum([0, *map(len, known)])
    flat = np.concatenate([np.array(ids, np.int32) for ids in known])
    matrix = sparse.csr_matrix((np.ones(len(flat), np.float32), flat, starts), shape=(len(known), rows))
    matrix.sum_duplicates()
    return matrix


def unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors / norms, norms


def ridge(counts, target, start, strength: float, iterations: int) -> np.ndarray:
    """Moves start so that the unit text vectors come near target: conjugate gradients on the normal equations.

    A text's sum is divided by its norm under start, so long texts weigh no more than short ones. strength pulls the
    rows back to start, which decides for tokens that the texts hardly have.
    """
    _, norms = unit(counts @ start)
    scaled = sparse.diags(1 / norms[:, 0]).astype(np.float32) @ counts
    transposed = scaled.T.tocsr()
    change = np.zeros_like(start)
    residual = transposed @ (target - scaled @ start)
    direction, energy = residual.copy(), (residual * residual).sum(axis=0)
    for _ in range(iterations):
        image = transposed @ (scaled @ direction) + strength * direction
        step = energy / np.maximum((direction * image).sum(axis=0), 1e-12)
        change += step * direction
        residual -= step * image
        before, energy = energy, (residual * residual).sum(axis=0)
        direction = residual + (energy / np.maximum(before, 1e-12)) * direction
    return start + change


@dataclasses.dataclass
class Plan:
    """How Adam runs. match weighs the similarities inside a batch against the angle to the teacher."""

    epochs: int = 4
    batch: int = 1024
    rate: float = 0.01
    match: float = 0.05


def refine(counts, target, rows, plan: Plan, say=print) -> np.ndarray:
    """Runs Adam over the rows that a batch touches; target [texts, DIM] must be unit vectors."""
    rows = rows.copy()
    mean, square = np.zeros_like(rows), np.zeros_like(rows)
    generator = np.random.default_rng(SEED)
    steps = plan.epochs * (counts.shape[0] // plan.batch)
    step = 0
    for epoch in range(plan.epochs):
        order = generator.permutation(counts.shape[0])
        total = 0.0
        for at in range(0, len(order) - plan.batch + 1, plan.batch):
            chosen = order[at : at + plan.batch]
            part = counts[chosen]
            touched, columns = np.unique(part.indices, return_inverse=True)
            part = sparse.csr_matrix((part.data, columns, part.indptr), shape=(len(chosen), len(touched)))
            got, norms = unit(part @ rows[touched])
            want = target[chosen]
            off = got @ got.T - want @ want.T
            np.fill_diagonal(off, 0)
            # The slope of 1 - got·want + match/2 · (sum of off² in the batch), then through the normalisation.
            slope = -want + 2 * plan.match * (off @ got)
            slope = (slope - (slope * got).sum(axis=1, keepdims=True) * got) / norms
            gradient = part.T @ slope
            total += float((1 - (got * want).sum(axis=1)).mean() + plan.match / 2 * (off * off).sum() / len(chosen))

            step += 1
            rate = plan.rate * (1 - step / (steps + 1))
            mean[touched] = 0.9 * mean[touched] + 0.1 * gradient
            square[touched] = 0.99 * square[touched] + 0.01 * gradient * gradient
            rows[touched] -= rate * mean[touched] / (np.sqrt(square[touched]) + 1e-8)
        say(f"epoch {epoch + 1}: loss {total / (len(order) // plan.batch):.4f}")
    return rows
