# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own files from strangers, reduced to what cannot run code before PyTorch sees them.

torch.export.load unpickles sample inputs and some weights, evaluates symbolic sizes as Python, calls whatever function of `torch` a node
names and loads shared libraries. Here a new archive is made of plain tensors and of a graph that knows aten operators only; the rest is
left out, or refused if the network needs it. TorchScript is a language of its own without Python, but it can write files.
"""

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fqt_ref.convert.limits import MAX_ELEMENTS
from fqt_ref.errors import FqtError, one_line

SAVE_AGAIN = "save it again with torch.export.save(torch.export.export(model, (example,)), path), by PyTorch 2.9 or newer"
PROGRAM, WEIGHTS, CONSTANTS = "models/model.json", "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
PLAIN_MEMBERS = ("archive_format", "archive_version", ".data/version", "byteorder")
OPERATORS = re.compile(
    r"torch\.ops\.(aten|quantized_decomposed)\.(?!from_file\b)\w+\.\w+|torch\.sym_\w+"
    r"|_operator\.(add|sub|mul|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge)|math\.(ceil|floor|trunc)"
)
ARGUMENTS = {
    "as_none", "as_tensor", "as_tensors", "as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings",
    "as_sym_int", "as_sym_ints", "as_sym_float", "as_sym_floats", "as_sym_bool", "as_sym_bools", "as_name", "as_expr",
    "as_optional_tensor", "as_optional_tensors", "as_nested_tensors", "as_scalar_type", "as_memory_format", "as_layout", "as_device",
}  # fmt: skip
# Symbolic sizes, which PyTorch evaluates: numbers, quoted symbols, and functions of these by name; no attribute, no other name.
EXPRESSION = re.compile(
    r"(?:\s|[(),/+-]|\*(?!\*)|\d|'[a-zA-Z]\w*'|\b(?:Symbol|Integer|Rational|Add|Mul|Max|Min|Mod|FloorDiv|CleanDiv|CeilDiv|PythonMod"
    r"|ModularIndexing|positive|nonnegative|integer|real|finite|evaluate|True|False)\b=?|\b[su]\d+\b)*"
)
NAME = re.compile(r"\w+")
TREES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
FILE_WRITERS = re.compile(rb"\b(save|from_file)\s*\(")


def safe_program(path: Path) -> io.BytesIO:
    """What torch.export.load may load in place of a .pt2 file. Raises FqtError: unreadable, another layout, or it needs code."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = stored(archive)
            return rebuilt(path.stem, members, archive)
    except FqtError as error:
        raise FqtError(f"{path} {error}") from error
    except OSError as error:
        raise FqtError(f"cannot read {path}: {error.strerror or one_line(error)}; name a file that can be read") from error
    except Exception as error:  # zipfile and json answer damage with exceptions of many types
        raise FqtError(f"{path} is not an exported program, or damaged ({one_line(error, 100)}); {SAVE_AGAIN}") from error


def stored(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members without the folder that all of them lie in. Nothing is compressed, so none is larger than the file."""
    members = {}
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise FqtError(f"is compressed, which torch.export.save doesn't do; {SAVE_AGAIN}")
        members[info.filename.partition("/")[2]] = info
    if PROGRAM not in members or WEIGHTS not in members or CONSTANTS not in members:
        older = "serialized_exported_program.json" in archive.namelist()
        what = "is an exported program in an old layout, which is pickled" if older else "is not an exported program"
        raise FqtError(f"{what}; {SAVE_AGAIN}")
    if any(name.startswith(("data/aotinductor/", "data/executorch/")) for name in members):
        raise FqtError(f"holds compiled code, which is not loaded; {SAVE_AGAIN}")
    return members


def rebuilt(name: str, members: dict[str, zipfile.ZipInfo], archive: zipfile.ZipFile) -> io.BytesIO:
    """A new archive of what cannot run code."""
    program = json.loads(archive.read(members[PROGRAM]))
    check_program(program)
    program["guards_code"] = []
    for node in nodes_of(program):
        node["metadata"] = {}
    files = {PROGRAM: json.dumps(program).encode(), SAMPLE_INPUTS: b""}
    for config, folder, prefix in ((WEIGHTS, "data/weights/", "weight_"), (CONSTANTS, "data/constants/", "tensor_")):
        files[config] = archive.read(members[config])
        for tensor, payload in json.loads(files[config])["config"].items():
            file = payload["path_name"]
            if payload["use_pickle"] or not re.fullmatch(rf"{prefix}\d+", file):
                raise FqtError(f"holds '{one_line(tensor, 60)}' as a pickled object, which can run code; {SAVE_AGAIN}")
            files[folder + file] = archive.read(members[folder + file])
            check_sizes(tensor, payload["tensor_meta"], len(files[folder + file]))
    files |= {member: archive.read(members[member]) for member in PLAIN_MEMBERS if member in members}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for member, data in files.items():
            made.writestr(f"{name}/{member}", data)
    buffer.seek(0)
    return buffer


def check_sizes(tensor: str, meta: dict[str, Any], stored_bytes: int) -> None:
    """Whether a tensor is about as large as what is stored of it. Raises FqtError."""
    sizes = [size["as_int"] for size in meta["sizes"]]
    if math.prod(sizes) > min(stored_bytes, MAX_ELEMENTS):
        raise FqtError(f"has a tensor '{one_line(tensor, 60)}' of shape {sizes} in {stored_bytes} bytes; {SAVE_AGAIN}")


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All dictionaries of a JSON value."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else []


def nodes_of(program: dict[str, Any]) -> list[dict[str, Any]]:
    """The graph's nodes."""
    return program["graph_module"]["graph"]["nodes"]


def check_program(program: dict[str, Any]) -> None:
    """Whether a program's JSON names nothing that PyTorch would run but operators on tensors. Raises FqtError."""
    module = program["graph_module"]
    if module.get("treespec_namedtuple_fields"):
        raise FqtError(f"takes or gives named tuples, which name Python classes; let the module take and give tensors, and {SAVE_AGAIN}")
    for node in nodes_of(program):
        if not OPERATORS.fullmatch(node["target"]):
            raise FqtError(f"calls '{one_line(node['target'], 80)}', which is no operator on tensors; only torch.ops.aten can be imported")
    for entry in objects(program):
        foreign = sorted(key for key in entry if key.startswith("as_") and key not in ARGUMENTS)
        if foreign:
            raise FqtError(f"passes an argument {one_line(foreign[0], 40)}, which is no tensor or number; it can't be imported")
        if "expr_str" in entry and not EXPRESSION.fullmatch(entry["expr_str"]):
            raise FqtError(f"has the size '{one_line(entry['expr_str'], 60)}', which is no plain expression; export with fixed sizes")
    for call in module["module_call_graph"]:
        for key in ("in_spec", "out_spec"):
            if call["signature"] is not None:
                check_tree(call["signature"][key])
    if not all(NAME.fullmatch(name) for name in program["range_constraints"]):
        raise FqtError("has a range of something that is no symbol; export with fixed sizes")


def check_tree(spec: str) -> None:
    """Whether the tree of a call's arguments is made of tuples, lists and dictionaries with plain keys. Raises FqtError."""
    for entry in objects(json.loads(spec)):
        context = json.loads(entry.get("context") or "null")
        plain = context is None or (isinstance(context, list) and all(isinstance(key, (str, int)) for key in context))
        if entry.get("type") not in TREES or not plain:
            raise FqtError(f"takes or gives a '{one_line(entry.get('type'), 60)}'; let the module take and give tensors, and {SAVE_AGAIN}")


def check_script(path: Path) -> None:
    """Whether a TorchScript file's code leaves files alone, its members are no bombs. Raises FqtError; what is no archive passes."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > 4 * MAX_ELEMENTS:
                raise FqtError(f"{path} unpacks to more than {4 * MAX_ELEMENTS >> 20} MiB; a network for a microcontroller is smaller")
            for info in archive.infolist():
                if "/code/" in info.filename and FILE_WRITERS.search(archive.read(info)):
                    raise FqtError(f"{path} holds TorchScript that reads or writes files, which is not run; export the module anew")
    except FqtError:
        raise
    except Exception as error:  # zipfile answers damage with exceptions of many types
        raise FqtError(f"{path} is a damaged archive ({one_line(error, 100)}); save it again") from error
