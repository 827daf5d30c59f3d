# SPDX-License-Identifier: Apache-2.0
"""C text: identifiers, comments, string literals, tables and initialisers, 100 columns wide.

Everything that a user can choose (layer names, tensor names, labels) passes through here before
it reaches a C file.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from codeq_compile.ir.op import Array

WIDTH = 100
COMMENT_WIDTH = WIDTH - 6
"""Columns of text between the signs that open and close a comment."""
INDENT = "    "
MAX_IDENTIFIER = 40
"""Characters that are taken from a name; more make lines that nobody reads."""

# A value of an initialiser: a C expression, {a, b, c}, or a nested struct.
Value = str | tuple[int, ...] | Mapping[str, "Value"]

# C11, with what <stdint.h> and gcc's own macros take; then C++17 and what C++20 adds,
# since the header may be included from there.
_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline
int long register restrict return short signed sizeof static struct switch typedef union unsigned
void volatile while asm main errno linux unix i386
int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t size_t

alignas alignof and and_eq bitand bitor bool catch char16_t char32_t char8_t class co_await
co_return co_yield compl concept const_cast consteval constexpr constinit decltype delete
dynamic_cast explicit export false friend mutable namespace new noexcept not not_eq nullptr
operator or or_eq private protected public reinterpret_cast requires static_assert static_cast
template this thread_local throw true try typeid typename using virtual wchar_t xor xor_eq
"""
_RESERVED = frozenset(_WORDS.split())


def is_reserved(word: str) -> bool:
    """True for a word that C, C++ or the runtime's headers keep for themselves.

    >>> is_reserved("register"), is_reserved("mfcc")
    (True, False)
    """
    return word in _RESERVED or word.startswith(("cq_", "codeq_", "_"))


def identifier(text: str, taken: Iterable[str] = ()) -> str:
    """A lower-case C identifier that resembles `text`, is not reserved and not in `taken`.

    >>> identifier("features.3/PW"), identifier("3x3"), identifier("int"), identifier("x", {"x"})
    ('features_3_pw', 't_3x3', 't_int', 'x_2')
    """
    word = re.sub(r"[^a-z0-9]+", "_", text.lower())[:MAX_IDENTIFIER].strip("_") or "t"
    if word[0].isdigit() or is_reserved(word):
        word = f"t_{word}"
    names = set(taken)
    unique, number = word, 1
    while unique in names:
        number += 1
        unique = f"{word}_{number}"
    return unique


def comment(text: str) -> str:
    r"""`text` made harmless inside a C block comment, as one line of printable ASCII.

    >>> comment("a*/b ??/ c\n é"), comment("/*")
    ('a* /b ? ?/ c\\n \\xe9', '/ *')
    """
    plain = text.encode("unicode_escape").decode("ascii")
    for pair in ("*/", "/*", "??"):
        while pair in plain:
            plain = plain.replace(pair, " ".join(pair))
    return plain


def clip(text: str, width: int) -> str:
    """`text` if it has at most `width` characters, else its head and tail around an ellipsis.

    >>> clip("backbone.blocks.12.attention", 15)
    'backbone...tion'
    """
    if len(text) <= width:
        return text
    tail = (width - 3) // 3
    return text[: width - 3 - tail] + "..." + text[-tail:]


def wrap(text: str, first: str, rest: str) -> list[str]:
    """Lines of a comment; the first begins with `first`, the others with `rest`."""
    return textwrap.wrap(
        text,
        COMMENT_WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def string(text: str) -> str:
    r"""`text` as one C string literal: UTF-8, everything outside printable ASCII in octal.

    Octal escapes end after three digits, so that no character that follows can join them.

    >>> print(string('say "é"?'))
    "say \"\303\251\"\?"
    """
    return '"' + "".join(_escape(text)) + '"'


def strings(text: str, width: int) -> list[str]:
    """`text` as adjacent C string literals of at most `width` columns each."""
    pieces = [""]
    for character in _escape(text):
        if len(pieces[-1]) + len(character) + 2 > width:
            pieces.append("")
        pieces[-1] += character
    return [f'"{piece}"' for piece in pieces]


def _escape(text: str) -> Iterator[str]:
    for byte in text.encode("utf-8", "surrogatepass"):
        character = chr(byte)
        if character in '"\\?':  # a question mark could begin a trigraph
            yield "\\" + character
        elif 0x20 <= byte < 0x7F:
            yield character
        else:
            yield f"\\{byte:03o}"


def number(value: int) -> str:
    """A decimal literal of a type that holds it.

    >>> number(-7), number(-(1 << 31))
    ('-7', 'INT32_MIN')
    """
    # C has no negative literals: -2147483648 is a negated long long
    return "INT32_MIN" if value == -(1 << 31) else str(value)


def hexadecimal(value: float) -> str:
    """A hexadecimal floating literal of exactly this value.

    >>> hexadecimal(0.375), hexadecimal(2.0)
    ('0x1.8p-2', '0x1p+1')
    """
    return re.sub(r"\.?0+p", "p", value.hex())


def count(value: int) -> str:
    """A count for people, digits in groups of three.

    >>> count(512000)
    '512 000'
    """
    return f"{value:,}".replace(",", " ")


def percent(share: float) -> str:
    """A share in percent that says 0 and 100 only where it is exact.

    >>> percent(0.6138), percent(0.9999), percent(1.0)
    ('61 %', '>99 %', '100 %')
    """
    if 0.0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1.0:
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def rows(data: Array, c_type: str, indent: int = 1) -> list[str]:
    """Lines of a table's initialiser: bytes in hexadecimal, numbers in columns.

    Parameters
    ----------
    data : int array of shape (n,), n >= 1
    c_type : str
        ``uint8_t`` is written in hexadecimal.
    indent : int
        Levels.
    """
    margin = INDENT * indent
    if c_type == "uint8_t":
        words = [f"0x{value:02x}" for value in data.tolist()]
    else:
        words = [number(value) for value in data.tolist()]
    column = max(map(len, words))
    each = max(1, (WIDTH - len(margin) + 1) // (column + 2))
    # a power of two makes positions easy to count
    each = max(power for power in (1, 2, 4, 8, 16) if power <= each)
    return [
        margin + ", ".join(word.rjust(column) for word in words[start : start + each]) + ","
        for start in range(0, len(words), each)
    ]


def fields(values: Mapping[str, Value]) -> list[str]:
    """Lines of a designated initialiser, one field a line, laid out as clang-format would.

    A structure of zeros is left out: C makes it one.
    """
    named = {name: value for name, value in values.items() if not _is_blank(value)}
    return [line for name, value in named.items() for line in _field(name, value)]


def _is_blank(value: Value) -> bool:
    return isinstance(value, Mapping) and all(item == "0" for item in value.values())


def _field(name: str, value: Value) -> list[str]:
    head = f"{INDENT}.{name} = "
    line = f"{head}{_inline(value)},"
    if len(line) <= WIDTH or not isinstance(value, Mapping):
        return [line]
    behind = f"{INDENT * 2}{_inline(value)},"
    if len(behind) <= WIDTH:
        return [head.rstrip(), behind]
    parts = [f".{key} = {_inline(item)}" for key, item in value.items()]
    lines = [head + "{" + parts[0], *(" " * (len(head) + 1) + part for part in parts[1:])]
    return [line + "," for line in lines[:-1]] + [lines[-1] + "},"]


def _inline(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return "{" + ", ".join(map(number, value)) + "}"
    return "{" + ", ".join(f".{key} = {_inline(item)}" for key, item in value.items()) + "}"


def call(head: str, arguments: Sequence[str], tail: str) -> list[str]:
    """``head(a, b, c)tail`` in lines of at most `WIDTH`, arguments aligned behind the bracket."""
    lines = [head + "("]
    margin = " " * len(lines[0])
    for index, argument in enumerate(arguments):
        last = index == len(arguments) - 1
        piece = argument + (")" + tail if last else ",")
        separator = "" if lines[-1] == margin or lines[-1].endswith("(") else " "
        if len(lines[-1]) + len(separator) + len(piece) > WIDTH and lines[-1] != margin:
            lines.append(margin + piece)
        else:
            lines[-1] += separator + piece
    return lines


def condition(head: str, terms: Sequence[str], tail: str) -> list[str]:
    """``head a || b || c tail`` in lines of at most `WIDTH`, aligned behind the bracket."""
    lines = [head + terms[0]]
    for term in terms[1:]:
        if len(lines[-1]) + len(" || ") + len(term) + len(tail) <= WIDTH:
            lines[-1] += f" || {term}"
        else:
            lines[-1] += " ||"
            lines.append(" " * len(head) + term)
    return [*lines[:-1], lines[-1] + tail]


def commented(lines: Sequence[tuple[str, str]]) -> list[str]:
    """Indented lines of code with their comments in one column."""
    width = max((len(code) for code, _ in lines), default=0)
    return [f"{INDENT}{code:<{width}} /* {about} */" for code, about in lines]


def defines(macros: Sequence[tuple[str, str]]) -> list[str]:
    """``#define`` lines with their values in one column."""
    width = max(len(name) for name, _ in macros)
    return [f"#define {name:<{width}} {value}" for name, value in macros]
