# SPDX-License-Identifier: Apache-2.0
"""The one exception that a user of `fqt` is meant to read, and text from strangers made fit for its one line."""


class FqtError(Exception):
    """Bad input: what was wrong, where, and how to mend it, in one line. The command line exits with 2."""

    def __str__(self) -> str:
        return one_line(super().__str__())  # it may name arrays, layers or files that strangers have named


def one_line(text: object, most: int | None = None) -> str:
    """Text from a file, a line or another library's exception, so that it stays on one line and steers no terminal.

    Runs of white space become one space; other control characters, line separators and characters that turn the direction of writing
    are escaped (\\x1b, \\u202e); what is longer than `most` is cut. An exception without a message gives its type's name.
    """
    whole = " ".join(str(text).split())
    if not whole and isinstance(text, BaseException):
        whole = type(text).__name__
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in whole)
    return shown if most is None or len(shown) <= most else shown[: most - 1] + "…"
