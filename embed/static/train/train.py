"""Makes ../model.bin: `python train.py --work DIR`. README.md says what it needs and how long it takes."""

import argparse
import pathlib

import numpy as np

import distill
import encode
import evaluate
import pack
import sources
import teacher as teachers

NAME = "freshet-static-256-v1"
HERE = pathlib.Path(__file__).resolve().parent


def vocabulary(tokenizer) -> tuple[list[str], list[int], np.ndarray]:
    """Returns the pieces that the model keeps, sorted, the teacher's id of each, and for each id the row, or -1.

    Left out are the special tokens and the teacher's 994 unused places: no text can hold them.
    """
    all_ids = tokenizer.get_vocab()
    pieces = sorted(piece for piece in all_ids if not (piece.startswith("[") and piece.endswith("]") and len(piece) > 2))
    ids = [all_ids[piece] for piece in pieces]
    row = np.full(len(all_ids), -1, np.int32)
    row[ids] = np.arange(len(ids))
    return pieces, ids, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for downloads and results")
    parser.add_argument("--shared", type=pathlib.Path, default=HERE.parents[3] / "shared", help="holds data/stsb …")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "model.bin")
    parser.add_argument("--start-only", action="store_true", help="stop after the first step: a model in a minute")
    choice = parser.parse_args()
    choice.work.mkdir(parents=True, exist_ok=True)

    folder = sources.fetch_teacher(choice.work)
    tokenizer = teachers.tokenizer(folder)
    teacher = teachers.Teacher(folder, choice.work)
    texts = sources.gather(choice.work, choice.shared)
    pieces, ids, row_of = vocabulary(tokenizer)

    def row_ids(batch):
        return [row_of[e.ids].tolist() for e in tokenizer.encode_batch(batch, add_special_tokens=False)]

    def report(step, rows):
        def embed(batch):
            return distill.unit(distill.count_matrix(row_ids(batch), len(rows)) @ rows)[0]

        found = evaluate.figures(choice.shared, embed)
        print(f"{step}: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()), flush=True)

    counts = distill.count_matrix(row_ids(texts), len(pieces))
    alone = choice.work / "alone.npy"
    if not alone.exists():
        np.save(alone, teacher.vectors([[i] for i in ids]))
    alone = np.load(alone)
    if choice.start_only:
        axes = distill.principal_axes(alone)
    else:
        vectors = encode.teacher_vectors(teacher, tokenizer, texts, choice.work / "vectors").astype(np.float32)
        axes = distill.principal_axes(vectors)
    rows = (alone @ axes) * distill.rarity(np.asarray(counts.sum(axis=0))[0])[:, None]
    report("start", rows)

    if not choice.start_only:
        target, _ = distill.unit(vectors @ axes)
        rows = distill.ridge(counts, target, rows, strength=1.0, iterations=30)
        report("ridge", rows)
        rows = distill.refine(counts, target, rows, distill.Plan())
        # Turn the vectors so that the leading dimensions carry most: a user may then cut them.
        rows = rows @ distill.principal_axes(distill.unit(counts @ rows)[0])
        report("refined", rows)

    pack.write(choice.out, NAME, pieces, rows)
    report("packed", pack.read(choice.out)[2])


if __name__ == "__main__":
    main()
