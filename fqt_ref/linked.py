# SPDX-License-Identifier: Apache-2.0
"""What a linked application takes of a board: flash and RAM as the linker counts them, and its threads' stacks."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from fqt_ref.errors import FqtError, one_line

MOST_ALIGNMENT = 4096
MODEL_ALIGNMENT = 8  # of the parts that depend on the model
Tail = list[tuple[int, int]]  # (alignment, bytes) of the sections behind one that grows


class Region(NamedTuple):
    """A memory region in which one section grows with the model: bytes used without it, where that section then ends, what follows."""

    bytes: int
    end: int  # an address, modulo MOST_ALIGNMENT
    tail: Tail

    def used(self, grown: int) -> int:
        """Bytes of the region with so many of the model's, a multiple of 8."""
        return self.bytes + self.end_of_tail(self.end + grown) - self.end_of_tail(self.end)

    def end_of_tail(self, at: int) -> int:
        """Where the sections behind end if they begin behind an address."""
        for alignment, size in self.tail:
            at = -(-at // alignment) * alignment + size
        return at


class Linked(NamedTuple):
    """An application without its model."""

    flash: Region
    ram: Region
    stack: int


def load_sections(elf: Any) -> list[tuple[int, int, int, int, str]]:
    """(flash address or -1, RAM address, bytes, alignment, name) of each section that takes memory."""
    rows = []
    for section in elf.iter_sections():
        if not section["sh_flags"] & 2 or section["sh_size"] == 0:  # SHF_ALLOC
            continue
        at, size, stored = section["sh_addr"], section["sh_size"], -1
        for segment in elf.iter_segments():
            inside = segment["p_vaddr"] <= at and at + size <= segment["p_vaddr"] + segment["p_filesz"]
            if segment["p_type"] == "PT_LOAD" and inside and section["sh_type"] != "SHT_NOBITS":
                stored = segment["p_paddr"] + at - segment["p_vaddr"]
        rows.append((stored, at, size, section["sh_addralign"], section.name))
    return rows


def region(places: list[tuple[int, int, int, str]], grows: str, model_bytes: int, used: int) -> Region:
    """The region of sections (address, bytes, alignment, name), `used` bytes in all; `grows` holds model_bytes of the model."""
    places = sorted(places)
    index = next(i for i, place in enumerate(places) if place[3] == grows)
    before, tail = places[index][0] + places[index][1], []
    end = before
    for at, size, alignment, _ in places[index + 1 :]:
        # A script may align a section's start more than its contents ask for.
        while -(-end // alignment) * alignment < at:
            alignment *= 2
        tail.append((alignment, size))
        end = at + size
    if all(alignment <= MODEL_ALIGNMENT for alignment, _ in tail):
        tail = []  # it moves by just what the model takes
    empty = Region(0, (before - model_bytes) % MOST_ALIGNMENT, tail)
    return empty._replace(bytes=used - empty.used(model_bytes))


def linked(elf_file: Path, flash_used: int, ram_used: int, flash_model: int, ram_model: int) -> Linked:
    """Read a linked application; its model takes flash_model and ram_model bytes, the linker has counted flash_used and ram_used."""
    from elftools.elf.elffile import ELFFile

    with elf_file.open("rb") as file:
        elf: Any = ELFFile(file)
        rows = load_sections(elf)
        flash = [(stored, size, alignment, name) for stored, _, size, alignment, name in rows if stored >= 0]
        # Sections that run where they are stored are not in RAM; what is left has an address of its own.
        low = next(at for _, at, _, _, name in rows if name == "bss")
        ram = [(at, size, alignment, name) for _, at, size, alignment, name in rows if at >= low and at - low < ram_used]
        symbols = elf.get_section_by_name(".symtab").iter_symbols()
        noinit = elf.get_section_index("noinit")
        stacks = {s["st_value"]: s["st_size"] for s in symbols if s["st_shndx"] == noinit and "stack" in s.name}
    return Linked(region(flash, "rodata", flash_model, flash_used), region(ram, "bss", ram_model, ram_used), sum(stacks.values()))


def as_json(one: Linked) -> dict:
    """For board_sizes.json."""
    return {"flash": list(one.flash), "ram": list(one.ram), "stack": one.stack}


def from_json(data: dict) -> Linked:
    """From board_sizes.json."""
    flash, ram = (Region(data[name][0], data[name][1], [(a, n) for a, n in data[name][2]]) for name in ("flash", "ram"))
    return Linked(flash, ram, data["stack"])


def read_measured(path: Path) -> dict:
    """board_sizes.json: {board: {"+"-joined operators: Linked as JSON}}; empty if it does not exist. Raises FqtError if it is damaged."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise FqtError(f"{path}: cannot be read ({one_line(error)}); restore it with 'git checkout {path}'") from error
