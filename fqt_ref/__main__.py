# SPDX-License-Identifier: Apache-2.0
"""`python -m fqt_ref` is the `fqt` command."""

from fqt_ref.cli import main

main()
