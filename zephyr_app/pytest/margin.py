# SPDX-License-Identifier: Apache-2.0
"""What every stack keeps unused: an exception's frame with an FPU's registers takes 104 bytes of it."""

import re

MARGIN = 256


def unused(lines: list[str]) -> dict[str, int]:
    """Bytes by thread, from the lines of CONFIG_FQT_APP_STACK_REPORT."""
    found = (re.search(r"fqt: stack (\S+) unused (\d+) of \d+", line) for line in lines)
    return {one[1]: int(one[2]) for one in found if one}


def too_small(lines: list[str], *threads: str) -> dict[str, int]:
    """The stacks with less; all of the threads named have to be there."""
    stacks = unused(lines)
    missing = {name: -1 for name in threads if name not in stacks}
    return missing | {name: size for name, size in stacks.items() if size < MARGIN}
