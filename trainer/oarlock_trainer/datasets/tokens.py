"""Turns texts into numbers, the same way at import and wherever a trained model is asked. Standard library and numpy alone.

Number 0 fills up a text that is short, 1 stands for what the vocabulary lacks. Words are runs of letters, digits and underscores in
lower case, and every other mark that is no space for itself; characters are the bytes of UTF-8.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Tokens

PADDING, UNKNOWN = 0, 1
_FIRST = 2
"""The number of the first word, or of the byte 0."""
_BYTES = 256
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenizer:
    """The numbers of one data set's texts."""

    tokens: Tokens
    length: int
    """Numbers of every text: what is longer is cut, what is shorter filled up."""
    words: list[str] = field(default_factory=list)
    """Words by number, from 2; none for characters."""
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = {word: number for number, word in enumerate(self.words, _FIRST)}
        object.__setattr__(self, "_numbers", numbers)

    @property
    def size(self) -> int:
        """Different numbers that there may be."""
        return _FIRST + (len(self.words) if self.tokens is Tokens.WORDS else _BYTES)

    def encode(self, text: str) -> NDArray[np.uint16]:
        """Return the numbers of a text: [length]."""
        found = self._encode_words(text) if self.tokens is Tokens.WORDS else self._encode_bytes(text)
        row = np.full(self.length, PADDING, dtype=np.uint16)
        row[: len(found)] = found
        return row

    def encode_all(self, texts: Iterable[str]) -> NDArray[np.uint16]:
        """Return the numbers of texts: [N, length]."""
        rows = [self.encode(text) for text in texts]
        return np.stack(rows) if rows else np.empty((0, self.length), dtype=np.uint16)

    def _encode_words(self, text: str) -> list[int]:
        known = self._numbers
        found: list[int] = []
        for match in _WORD.finditer(text.lower()):
            if len(found) == self.length:
                break
            found.append(known.get(match[0], UNKNOWN))
        return found

    def _encode_bytes(self, text: str) -> NDArray[np.uint16]:
        # A character is at least a byte: what lies beyond the length is not even looked at.
        content = text[: self.length].encode("utf-8", "replace")[: self.length]
        return np.frombuffer(content, dtype=np.uint8).astype(np.uint16) + _FIRST


def count_words(text: str) -> Counter[str]:
    """Return how often each word is in a text."""
    return Counter(_WORD.findall(text.lower()))


def choose_words(counts: Counter[str], *, most: int) -> list[str]:
    """Return the `most` frequent words, the most frequent first; equally frequent ones by their spelling."""
    return [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]]


def format_words(words: Iterable[str]) -> str:
    """Return the content of a vocabulary's file."""
    return "".join(f"{word}\n" for word in words)


def read_words(path: Path) -> list[str]:
    """Return the words of a vocabulary's file, one a line."""
    # Not splitlines, which divides at more than the end of a line.
    return path.read_text(encoding="utf-8").split("\n")[:-1]
