"""Records what HF tokenizers gives for many texts: `python golden.py --work DIR` writes ../testdata/tokens.json.

The Go test reads the same texts, so the choice of texts here is the choice there (tokens_test.go).
"""

import argparse
import csv
import hashlib
import json
import pathlib
import struct

import sources
import teacher as teachers
from train import HERE, vocabulary

# Per file of shared/data: the fields whose values are the texts; numbers are columns of a file without a header.
FILES = {
    "vaswani/corpus.jsonl": ["text"],
    "vaswani/queries.jsonl": ["text"],
    "tldr_history/changes_2013_2020.jsonl": ["text"],
    "retail_demo_store/products.jsonl": ["name", "category", "style", "description"],
    "reddit_top_a/posts_by_time.csv": ["title", "selftext"],
    "online_retail/catalogue.csv": ["description"],
    "online_retail/events_2010-12_to_2011-03.csv": ["Description"],
    "sparkov_tx/transactions_by_time.csv": ["city", "job", "category", "merchant"],
    "stsb/stsb-en-dev.csv": [0, 1],
    "stsb/stsb-en-train.csv": [0, 1],
    "glove_50d/base_words.txt": [],
    "glove_50d/query_words.txt": [],
}

HARD = [
    "", " ", "\t\n\r", "\x00", "\ufffd", "a\x00b", "a\ufffdb", "a\tb\nc\rd", "a\x0bb\x0cc\x1cd\x85e",
    "don't", "U.S.A.", "state-of-the-art", "foo_bar.baz(1,2)=[3];", "$100 + 5% ~ ^ ` | < >",
    "[MASK] [CLS] [UNK] [unused1]", "##s ## #", "électricité Ünïcödé ÅNGSTRÖM",
    "e\u0301 e\u0301\u0323 \u0301a", "İstanbul ıI ſ K Å Ω", "ΑΣ ΌΣΟΣ ς", "ﬁ ﬂ ﬃ", "½ ² ₂ Ⅷ ⅷ ①",
    "漢字かな交じり文", "中文abc中文", "豈更 丽", "𠀀𪜀𫝀𫠠", "한국어 각 가 힣", "ᄀ\u1161\u11a8", "ひらがな カタカナ ガ ｶﾞ",
    "привет Йод ё", "שָׁלוֹם", "السَّلامُ عَلَيْكُم", "नमस्ते हिन्दी", "বাংলা কো", "ภาษาไทย",
    "ქართული ᲐᲑᲒ", "Ꭰꭰ", "\u00a0x\u2003y\u202fz\u3000w\u1680v\u2028u\u2029t",
    "a\u200bb\u200db\u00adc\ufeffd\u2060e", "“quoted” ‘x’ — – … •", "¿qué? ¡sí! « »", "、。「」・〜",
    "！？，．：；（）", "😀 👍🏽 👨‍👩‍👧 🇩🇪 ☃ ♥ ©", "x😀y", "\U0001f600\ufe0f", "\ue000\U000f0000a",
    "\u0378 \u0600 \u070f \u06dd", "\u180e \u1734 \u0890 \u08e2", "≠ ≯ ; ´ ΅", "ÀÁÂÃ" * 30, "a" * 100,
    "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100, "각" * 33 + "가", "각" * 34, "中" * 120,
    "electroencephalographically antidisestablishmentarianism",
    "0123456789012345678901234567890123456789", "http://example.com/a?b=c&d=e#f",
    "3.14e-10 0x1F 1,000,000", "naïve café — résumé", "ǅ ǆ Ǆ ŉ ǰ ΐ", "\u1e9e ß", "\U00010400\U00010428",
    "𝐀𝑩 ⓐ", "\u0345 \u0390 \u1fb7", "𝅗𝅥 \U0001d15e", "\U00011938 \U00011099", "e\u0301\x00\u0323x",
    "a\u0331\u0308\u05b0\u0327b", "क\u093c\u094d \u0958",
]  # fmt: skip

RUNES = 0x110000
SURROGATES = range(0xD800, 0xE000)
RANGES = [(0, 0x80), (0x80, 0x580), (0x300, 0x70), (0x590, 0x1A70), (0x2000, 0x1000), (0, RUNES)]  # first, size


def shared_texts(shared: pathlib.Path, name: str, fields: list):
    with open(shared / "data" / name, encoding="utf-8", newline="") as file:
        if name.endswith(".jsonl"):
            rows = map(json.loads, file)
        elif name.endswith(".txt"):
            yield from file.read().split("\n")
            return
        else:
            rows = csv.reader(file) if isinstance(fields[0], int) else csv.DictReader(file)
        for row in rows:
            for field in fields:
                yield (row[field] if isinstance(field, int) else row.get(field)) or ""


def every_rune():
    for rune in range(RUNES):
        if rune not in SURROGATES:
            yield f"a{chr(rune)}b {chr(rune)}{chr(rune)} {chr(rune)}"


def random_runes(texts=50_000):
    """Texts of 1 to 16 runes from all of Unicode, the low and the accent ranges more often; tokens_test.go does the same."""
    state = 1

    def draw(below):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % below

    for _ in range(texts):
        text = ""
        for _ in range(1 + draw(16)):
            first, size = RANGES[draw(len(RANGES))]
            rune = first + draw(size)
            text += "" if rune in SURROGATES else chr(rune)
        yield text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--shared", type=pathlib.Path, default=HERE.parents[3] / "shared")
    choice = parser.parse_args()
    tokenizer = teachers.tokenizer(sources.fetch_teacher(choice.work))
    _, _, row_of = vocabulary(tokenizer)

    def rows(texts):
        return [row_of[e.ids].tolist() for e in tokenizer.encode_batch(texts, add_special_tokens=False)]

    def digest(texts):
        texts = list(texts)
        total = hashlib.sha256()
        for ids in rows(texts):
            total.update(struct.pack(f"<I{len(ids)}i", len(ids), *ids))
        return {"texts": len(texts), "sha256": total.hexdigest()}

    def shared_digest(name, fields):
        return {"fields": fields} | digest(shared_texts(choice.shared, name, fields))

    made = {
        "shared": {name: shared_digest(name, fields) for name, fields in FILES.items()},
        "every_rune": digest(every_rune()),
        "random_runes": digest(random_runes()),
        "hard": [{"text": text, "ids": ids} for text, ids in zip(HARD, rows(HARD), strict=True)],
    }
    lines = json.dumps(made, indent=1, ensure_ascii=True)
    (HERE.parent / "testdata").mkdir(exist_ok=True)
    (HERE.parent / "testdata" / "tokens.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
