"""Free text searches (`q`) as people write them, for pgstac.

Here belongs reading what was written, and writing it down so that the database finds no fault with it. Not here: where
it is looked for; pgstac looks into title, description and keywords.

Measured on pgstac 0.10.0: it passes most of a text on to `to_tsquery`, so that a lone quote, `a & & b`, `(`, `foo:` or
`o'brien` end as a syntax error. Phrases in double quotes, with operators between them, it passes on unharmed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: Characters of all terms together, and brackets within brackets.
LONGEST = 1_000
DEEPEST = 10

_TOKEN = re.compile(
    r"""(?P<sign>(?<![^\s,("])[+-](?=[^\s,+-]))  # before a term, not within one: `foo-bar` is one
      | "(?P<phrase>[^"]*)(?:"|$)
      | (?P<mark>[(),|&])
      | (?P<word>[^\s,"()|&]+)""",
    re.VERBOSE,
)
_OPERATORS = {"or": "|", "|": "|", ",": "|", "and": "&", "&": "&"}
#: What would end a phrase early, or mean something to `to_tsquery` or to pgstac, and is no part of a word.
_NO_PART_OF_A_WORD = re.compile(r"""['"\\@\x00-\x1f\x7f]""")

#: A phrase without a word, which nothing has in it.
_NOTHING = '"-"'


class TextUnusable(ValueError):
    """A free text is too long or too deep; the message says so in a sentence."""


def for_pgstac(q: str | Sequence[str] | None) -> str | None:
    """The query that pgstac understands as it was meant; None where nothing is asked for.

    Terms that stand beside one another are a phrase; `OR` or a comma between terms asks for one of them, `AND` for
    both; `+term` must and `-term` must not be there; double quotes make a phrase of what is in them, brackets group.
    An operator that has nothing to work on is left out.

    Args:
        q: the text, or several of which one suffices.

    Raises:
        TextUnusable: see there.
    """
    text = q or "" if isinstance(q, str) or q is None else ",".join(q)
    if len(text) > LONGEST:
        raise TextUnusable(f"it has {len(text):,} characters, and {LONGEST:,} are allowed; search for fewer terms")
    if not text.strip(" ,"):
        return None
    return _Reader(text).read() or _NOTHING


class _Reader:
    """Reads one text: alternatives of what must all be there, each a phrase or a group, with or without a `-`."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def read(self) -> str:
        """Empty where there is no term."""
        groups: list[str] = []
        # A bracket that closes nothing ends nothing either.
        while self._at < len(self._tokens):
            group = self._alternatives(0)
            groups += [group] if group else []
            self._at += 1
        return " & ".join(f"({group})" for group in groups) if len(groups) > 1 else "".join(groups)

    def _alternatives(self, depth: int) -> str | None:
        if depth > DEEPEST:
            raise TextUnusable(f"it has more than {DEEPEST} brackets within one another; write it with fewer")
        found: list[list[str]] = [[]]
        negated = False
        while self._at < len(self._tokens):
            kind, value = self._tokens[self._at]
            if (kind, value) == ("mark", ")"):
                break
            if (kind, value) == ("mark", "("):
                self._at += 1
                inner = self._alternatives(depth + 1)
                term = f"({inner})" if inner else None
            elif kind in ("word", "phrase"):
                term = self._phrase()
            else:
                term = None
            if term is not None:
                found[-1].append(f"! {term}" if negated else term)
            elif value == "|":
                found.append([])
            negated = kind == "sign" and value == "-"
            self._at += 1
        return " | ".join(" & ".join(group) for group in found if group) or None

    def _phrase(self) -> str:
        """The terms from here on that nothing stands between; ends at the last of them."""
        words = [self._tokens[self._at][1]]
        while self._at + 1 < len(self._tokens) and self._tokens[self._at + 1][0] in ("word", "phrase"):
            self._at += 1
            words.append(self._tokens[self._at][1])
        return f'"{" ".join(words)}"'


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and value: a sign, a mark (of operators `|` and `&`, and brackets), a word or a phrase."""
    for match in _TOKEN.finditer(text):
        kind, value = str(match.lastgroup), match.group(str(match.lastgroup))
        if value.lower() in _OPERATORS and kind != "phrase":
            yield "mark", _OPERATORS[value.lower()]
            continue
        if kind in ("word", "phrase"):
            value = " ".join(_NO_PART_OF_A_WORD.sub(" ", value).split())
        if value:
            yield kind, value
