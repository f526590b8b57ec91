# SPDX-License-Identifier: Apache-2.0
"""Text from strangers in messages: one line, and no control over the terminal."""

from fqt_ref.errors import FqtError, one_line


def test_line_breaks_and_control_characters_do_not_reach_the_terminal():
    assert one_line("Conv\r\n'a'\tb") == "Conv 'a' b"
    assert one_line("\x1b[31mred\x07") == r"\x1b[31mred\x07"
    assert one_line("right\u202eto left, next\u0085line, \ud800") == r"right\u202eto left, next line, \ud800"
    assert one_line("Größe 日本") == "Größe 日本"


def test_an_exception_without_a_message_gives_its_type():
    assert one_line(KeyError()) == "KeyError"
    assert one_line(ValueError("a\nb")) == "a b"
    assert one_line("") == ""


def test_long_text_is_cut():
    assert one_line("x" * 20, 10) == "x" * 9 + "…"


def test_an_error_that_names_what_a_stranger_named_is_one_line():
    assert str(FqtError("holds x\n_train and \x1b[2J")) == "holds x _train and \\x1b[2J"
