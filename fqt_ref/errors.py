# SPDX-License-Identifier: Apache-2.0
"""The one exception that a user of `fqt` is meant to read."""


class FqtError(Exception):
    """Bad input: what was wrong, where, and how to mend it, in one line. The command line exits with 2."""
