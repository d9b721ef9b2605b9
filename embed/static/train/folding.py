"""How a text is cut into words, written down as a table of runes, so that no later Unicode version can change it.

BERT's normaliser and splitter treat every rune by itself: it is dropped, or it separates words, or it is a word of its
own, or it is part of a word, the last two after folding (lower case, no accents) to one or more runes. What each does is
read off HF tokenizers rather than computed, so the table agrees with it by construction.
"""

import struct

import tokenizers

PART, OWN, SPACE, DROP = range(4)
# A rune in [first, last] at an even distance from first if STEP2 is set; folds to itself + shift, or for EXPAND to the
# runes of the expansions numbered shift, shift + 1, …; for HANGUL to its two or three letters by Unicode's arithmetic.
EXPAND, HANGUL, STEP2 = 4, 8, 16
RUN = struct.Struct("<IIiI")  # first, last, shift, kind

HANGUL_FIRST, HANGUL_LAST = 0xAC00, 0xD7A3


def read_off(rune: int, normalizer, splitter) -> tuple[int, str]:
    """Returns (kind, what it folds to)."""
    words = [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(f"a{chr(rune)}b"))]
    if words == ["ab"]:
        return DROP, ""
    if words == ["a", "b"]:
        return SPACE, ""
    if len(words) == 3 and words[0] == "a" and words[2] == "b":
        return OWN, words[1]
    if len(words) == 1 and words[0][0] == "a" and words[0][-1] == "b":
        return PART, words[0][1:-1]
    raise ValueError(f"rune {rune:#x} gives the words {words}: the table has no kind for that")


def hangul(rune: int) -> str:
    at = rune - HANGUL_FIRST
    letters = [0x1100 + at // 588, 0x1161 + at % 588 // 28, 0x11A7 + at % 28]
    return "".join(map(chr, letters[: 3 if at % 28 else 2]))


def table() -> tuple[list[tuple[int, int, int, int]], list[str]]:
    """Returns (runs, expansions): runs in the order of their first rune; a rune in none is part of a word as it is."""
    normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
    runs, expansions = [], []
    for rune in range(0x110000):
        if 0xD800 <= rune < 0xE000:
            continue
        kind, folded = read_off(rune, normalizer, splitter)
        shift = ord(folded) - rune if len(folded) == 1 else 0
        if HANGUL_FIRST <= rune <= HANGUL_LAST and kind == PART and folded == hangul(rune):
            kind |= HANGUL
        elif len(folded) > 1:
            kind, shift = kind | EXPAND, len(expansions)
            expansions.append(folded)
        if (kind, shift) == (PART, 0):
            continue
        if runs and not kind & EXPAND:
            first, last, s, k = runs[-1]
            if (s, k) == (shift, kind) and last == rune - 1:
                runs[-1] = (first, rune, s, k)
                continue
            if s == shift and k & ~STEP2 == kind and last == rune - 2 and (first == last or k & STEP2):
                runs[-1] = (first, rune, s, k | STEP2)
                continue
        runs.append((rune, rune, shift, kind))
    return runs, expansions
