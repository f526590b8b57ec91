# SPDX-License-Identifier: Apache-2.0
"""Cycles that counted instructions would take on a real core: an estimate from the reference manuals' timings, zero wait states."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fqt_ref import device
from fqt_ref.counting.instructions import Program, own
from fqt_ref.errors import FqtError

LINE = re.compile(r"^\s+([0-9a-f]+):\t(\S+)[ \t]*([^;@\n]*)", re.M)
REGISTER = re.compile(r"\b(?:r\d+|sp|lr|pc|ip|sl|fp|[sd]\d+)\b")
CONDITIONS = "eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
BRANCH = re.compile(rf"b({CONDITIONS})?|bl|bx|blx|cbn?z|tb[bh]")
SINGLE_LOAD, SINGLE_STORE = re.compile(r"ldr(?!d|ex)\w*|vldr"), re.compile(r"str(?!d|ex)\w*|vstr")
MULTIPLE = re.compile(r"v?(ldm|stm|push|pop)\w*")
MULTIPLY = re.compile(r"(mul|mla|mls|smul|smla|smull|umull|smlal|umlal|smlad|smuad|smlsd|smusd|smmul|smmla|umaal|vmul|vmla|vfma)\w*")
ASSUMPTIONS = {
    "cortex-m0": "Cortex-M0+ TRM: load, store 2; N registers 1 + N; taken branch 2, BL 3, POP with PC 3 + N; single-cycle multiplier",
    "cortex-m4": "Cortex-M4 TRM: load 2, 1 behind another load or store; store 1; N registers 1 + N; taken branch 1 + 2; multiply 1; "
    "divide 7 (2 to 12); VDIV, VSQRT 14, VMLA 3",
    "cortex-m7": "no table by Arm: two neighbours issue together unless the second reads the first's result, both are multiplies, stores "
    "or branches, or one names several registers; branches predicted; divide 7, VDIV, VSQRT 14; caches always hit",
}


class Code(NamedTuple):
    """An instruction. name: without width and, in IT blocks, with its condition."""

    name: str
    operands: str

    @property
    def registers(self) -> list[str]:
        """Registers named, the result's first."""
        return REGISTER.findall(self.operands)

    @property
    def listed(self) -> int:
        """Registers in braces."""
        inside = re.search(r"\{(.*)\}", self.operands)
        return sum(span(one.strip()) for one in inside.group(1).split(",")) if inside else 2


def span(item: str) -> int:
    """Registers of an item of a list: r4 or r4-r7."""
    ends = [int(number) for number in re.findall(r"\d+", item)]
    return ends[1] - ends[0] + 1 if "-" in item and len(ends) == 2 else 1


@cache
def disassembled(path: Path) -> dict[int, Code]:
    """The instructions of a program by address. Raises FqtError."""
    answer = device.run(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(path)], f"disassembling {path.name}", 60)
    if answer.returncode != 0:
        raise FqtError(f"disassembling {path} failed: {answer.stderr.strip()[-200:]}")
    return {int(address, 16): Code(re.sub(r"\.[nw]$", "", name), operands) for address, name, operands in LINE.findall(answer.stdout)}


def is_branch(code: Code) -> bool:
    return BRANCH.fullmatch(code.name) is not None


def cost_m0(code: Code, before: Code | None) -> tuple[float, float]:
    """Cycles of an execution, and those that it takes more when it branches."""
    if MULTIPLE.fullmatch(code.name):
        return (2 if "pc" in code.operands else 1) + code.listed, 1
    if SINGLE_LOAD.fullmatch(code.name) or SINGLE_STORE.fullmatch(code.name):
        return 2, 0
    return (2 if code.name == "bl" else 1), 1


def slow(code: Code) -> float | None:
    """Cycles of the few instructions that take many; both Cortex-M4 and M7."""
    if code.name.startswith(("sdiv", "udiv")):
        return 7
    if code.name.startswith(("vdiv", "vsqrt")):
        return 14
    return None


def cost_m4(code: Code, before: Code | None) -> tuple[float, float]:
    """See cost_m0()."""
    if MULTIPLE.fullmatch(code.name) or code.name.startswith(("ldrd", "strd")):
        return 1 + code.listed, 2
    if SINGLE_LOAD.fullmatch(code.name):
        behind = before is not None and (SINGLE_LOAD.fullmatch(before.name) or SINGLE_STORE.fullmatch(before.name))
        return (1 if behind else 2), 2
    if code.name.startswith("vmla") or code.name.startswith("vfma"):
        return 3, 0
    return slow(code) or 1, 2


def kind(code: Code) -> str:
    """What of a Cortex-M7 an instruction takes that is there once."""
    if MULTIPLY.fullmatch(code.name):
        return "multiply"
    if SINGLE_STORE.fullmatch(code.name):
        return "store"
    return "branch" if is_branch(code) else code.name if slow(code) else ""


def pairs(first: Code, second: Code) -> bool:
    """Whether a Cortex-M7 may issue two neighbours together."""
    if any(MULTIPLE.fullmatch(one.name) or one.name.startswith(("ldrd", "strd", "it")) or slow(one) for one in (first, second)):
        return False
    if kind(first) != "" and kind(first) == kind(second):
        return False
    has_result = not (kind(first) in ("store", "branch") or first.name.startswith(("cmp", "cmn", "tst", "teq")))
    return not (has_result and first.registers and first.registers[0] in second.registers)


def cycles_m7(codes: list[Code | None], addresses: np.ndarray, executed: np.ndarray) -> float:
    """Cycles of a Cortex-M7: neighbours of a run pair from its start."""
    total = 0.0
    open_slot: Code | None = None  # the instruction before, if nothing has joined it
    for i, code in enumerate(codes):
        if code is None:
            open_slot = None
            continue
        neighbours = i > 0 and addresses[i] - addresses[i - 1] <= 4 and executed[i] == executed[i - 1]
        if open_slot is not None and neighbours and pairs(open_slot, code):
            open_slot = None
            continue
        if MULTIPLE.fullmatch(code.name) or code.name.startswith(("ldrd", "strd")):
            total += executed[i] * (1 + (code.listed - 1) / 2)
        else:
            total += executed[i] * (slow(code) or 1)
        open_slot = code
    return total


def cycles(program: Program, interval: np.ndarray) -> float:
    """Estimated cycles of an interval, without the test program's own instructions."""
    by_address = disassembled(program.path)
    left_out = own(program, interval)
    addresses, executed, taken = (interval[name] for name in ("address", "executed", "taken"))
    codes = [None if out else by_address.get(int(at)) for at, out in zip(addresses, left_out, strict=True)]
    if program.core == "cortex-m7":
        return cycles_m7(codes, addresses.astype(np.int64), executed)
    cost = cost_m0 if program.core == "cortex-m0" else cost_m4
    total = 0.0
    for i, code in enumerate(codes):
        if code is not None:
            base, more = cost(code, codes[i - 1] if i else None)
            total += float(executed[i]) * base + float(taken[i]) * more
    return total
