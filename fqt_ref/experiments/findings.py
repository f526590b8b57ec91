# SPDX-License-Identifier: Apache-2.0
"""What people read in the figures found: a paragraph an experiment, beside the paper's results. `fqt experiment report` prints them."""

FINDINGS: dict[str, str] = {}
