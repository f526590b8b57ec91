# SPDX-License-Identifier: Apache-2.0
"""Mutants of the engine: changes of the syntax tree's nodes, each run as plain Python in a process of its own that imports the changed
source, and judged by the golden files. As a program: the process from which those are forked."""

import ast
import importlib.machinery
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from mutants_common import KILLED, NO_MUTANT, SURVIVED, Golden, Mutant, changed

from fqt_ref.errors import FqtError

ROOT = Path(__file__).resolve().parents[1]
SWAPS: dict[type, tuple[str, ...]] = {
    ast.Lt: ("<=",), ast.LtE: ("<",), ast.Gt: (">=",), ast.GtE: (">",), ast.Eq: ("!=",), ast.NotEq: ("==",),
    ast.Add: ("-",), ast.Sub: ("+",), ast.Mult: ("+",), ast.Div: ("*",), ast.FloorDiv: ("*",), ast.Mod: ("//",),
    ast.LShift: (">>",), ast.RShift: ("<<",), ast.BitAnd: ("|",), ast.BitOr: ("&",), ast.BitXor: ("|",),
    ast.And: ("or",), ast.Or: ("and",),
}  # fmt: skip
# No golden file holds optimizers of the desktop (SPEC.md 15), nor loops over many samples, which call what golden files hold.
NOT_GOLDEN = {"train", "predict", "features", "update_quantized_momentum", "update_f32_momentum"}
COMPILED = {"njit", "uncounted", "inlined"}  # decorators of what defines bits
SLOWEST = 20  # seconds of one golden file as plain Python, many times what it takes
MEMORY = 4 << 30


# ---- Making ----


class Changes:
    """All changes of one file."""

    def __init__(self, path: Path, whole: bool):
        self.name, self.source = str(path.relative_to(ROOT)), path.read_text()
        self.lines = [0]
        for line in self.source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line.encode()))
        self.bytes = self.source.encode()
        self.whole = whole

    def span(self, node) -> tuple[int, int]:
        """(start, end) of a node, in characters."""
        start, end = self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset
        return len(self.bytes[:start].decode()), len(self.bytes[:end].decode())

    def mutant(self, start: int, end: int, after: str) -> Mutant:
        return Mutant.of(self.name, self.source, start, end, after)

    def between(self, left, right, after: str) -> Mutant:
        """Another operator between two nodes."""
        start, end = self.span(left)[1], self.span(right)[0]
        text = self.source[start:end]
        operator = text.strip("() \n")
        at = start + text.index(operator)
        return self.mutant(at, at + len(operator), after)

    def of(self, node) -> Iterator[Mutant]:
        """Changes of one node."""
        if isinstance(node, ast.Compare):
            for left, op, right in zip([node.left, *node.comparators[:-1]], node.ops, node.comparators, strict=True):
                yield from (self.between(left, right, after) for after in SWAPS.get(type(op), ()))
        elif isinstance(node, ast.BinOp):
            yield from (self.between(node.left, node.right, after) for after in SWAPS.get(type(node.op), ()))
        elif isinstance(node, ast.AugAssign):
            yield from (self.between(node.target, node.value, f"{after}=") for after in SWAPS.get(type(node.op), ()))
            yield self.mutant(*self.span(node), "pass")
        elif isinstance(node, ast.BoolOp):
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from (self.between(left, right, after) for after in SWAPS[type(node.op)])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            yield self.mutant(self.span(node)[0], self.span(node.operand)[0], "")
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield from (self.mutant(*self.span(node), str(node.value + d)) for d in (1, -1) if node.value + d >= 0)
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield self.mutant(*self.span(node), str(not node.value))
        elif isinstance(node, (ast.If, ast.IfExp)):
            yield from (self.mutant(*self.span(node.test), value) for value in ("True", "False"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("clamp", "min", "max", "abs"):
            first = node.args if node.func.id in ("min", "max") else node.args[:1]
            yield from (self.mutant(*self.span(node), f"({ast.get_source_segment(self.source, arg)})") for arg in first)
        elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
            isinstance(node, ast.Assign) and not any(isinstance(target, ast.Name) for target in node.targets)
        ):
            yield self.mutant(*self.span(node), "pass")

    def walk(self, node) -> Iterator[Mutant]:
        """Changes of a node and of what is in it, but for annotations, decorators and what an error says."""
        if isinstance(node, (ast.JoinedStr, ast.Raise)):
            return
        yield from self.of(node)
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns", "decorator_list"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        yield from self.walk(child)

    def all(self) -> Iterator[Mutant]:
        """Changes of compiled functions and of the file's constants, or of the whole file."""
        for node in ast.parse(self.source).body:
            names = {d.id for d in getattr(node, "decorator_list", []) if isinstance(d, ast.Name)}
            if getattr(node, "name", "") in NOT_GOLDEN:
                continue
            if isinstance(node, ast.Assign) or names & COMPILED or (self.whole and isinstance(node, ast.FunctionDef)):
                yield from self.walk(node)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All changes of one file. Of model_file.py everything counts: it judges bytes as kernels do."""
    yield from Changes(path, path.name == "model_file.py").all()


# ---- Judging ----


class Engine:
    """Forks the processes in which mutants run: what all of them import is imported once."""

    def __init__(self, jobs: int, golden: Golden):
        self.golden = golden
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, __file__]
        self.servers = [
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
            for _ in range(jobs)
        ]
        self.idle = list(self.servers)

        killer = self.killer("fqt_ref/__init__.py", (ROOT / "fqt_ref/__init__.py").read_text())
        if killer:
            self.close()
            raise FqtError(f"the engine does not compute {killer} as it is: run 'fqt golden --check' first")

    def killer(self, file: str, source: str) -> str | None:
        """The golden file that is not equal if a file has this source; None if all are."""
        last, server = self.golden.last.get(file), self.idle.pop()
        try:
            print(json.dumps([file, source, str(last) if last else Path(file).stem]), file=server.stdin, flush=True)
            return json.loads(server.stdout.readline())
        finally:
            self.idle.append(server)

    def judge(self, mutant: Mutant) -> str:
        """What becomes of a mutant: killed, survived, or none, because it is no Python."""
        source = changed((ROOT / mutant.file).read_text(), mutant)
        try:
            compile(source, mutant.file, "exec")
        except SyntaxError:
            return NO_MUTANT
        killer = self.killer(mutant.file, source)
        if killer is None:
            return SURVIVED
        self.golden.last[mutant.file] = Path(killer)
        return KILLED

    def close(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.kill()
            server.communicate()


def operator_checks() -> dict[str, Callable]:
    """What makes the cases of each file of operators, one after the other."""
    from fqt_ref.golden.operators import generators
    from fqt_ref.golden.shapes import shape_cases

    return {**generators(), "shapes": shape_cases}


def equals_golden(file: Path) -> bool:
    """Whether the engine, as it has been imported, computes a golden file's results from its inputs."""
    from fqt_ref.golden.format import case_bytes, case_spans

    data = file.read_bytes()
    checks = operator_checks()
    if file.stem in checks:
        spans = case_spans(data)
        return all(case_bytes(case) == data[first:end] for case, (_, first, end) in zip(checks[file.stem](), spans, strict=True))
    from fqt_ref.golden.replay import replayed

    return replayed(data)


def import_changed(name: str, source: str) -> None:
    """From now on a file of the engine is read as `source`, without a look at compiled forms."""
    path = str(ROOT / name)
    loader = importlib.machinery.SourceFileLoader
    stats, read = loader.path_stats, loader.get_data

    def changed_stats(self, file):
        if file == path:
            raise OSError
        return stats(self, file)

    loader.path_stats = changed_stats  # type: ignore[method-assign]
    loader.get_data = lambda self, file: source.encode() if file == path else read(self, file)  # type: ignore[method-assign]


def child(name: str, source: str, first: str, report) -> None:
    """Judge one changed file: report the path of the golden file being replayed before each, and nothing behind the last."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import_changed(name, source)
    import numpy

    numpy.seterr(all="ignore")
    folder = ROOT / "golden"
    files = sorted(folder.glob("*.fqg"), key=lambda path: path.stat().st_size)
    order = sorted((f for f in files if plain_enough(f)), key=lambda f: str(f) != first and f.stem != first)
    for file in order:
        os.write(report, f"{file}\n".encode())
        signal.alarm(SLOWEST)
        if not equals_golden(file):
            os._exit(1)
    os._exit(0)


def plain_enough(file: Path) -> bool:
    """Whether plain Python replays a file within seconds: all but hundreds of steps of a convolutional network."""
    long = ("trajectory_uint8", "trajectory_mixed", "trajectory_float32", "zeroth_order")
    return not file.stem.startswith(long) and file.stem != "options"


def serve() -> None:
    """Fork a process for each line of standard input; answer with the golden file that killed it, or null."""
    sys.dont_write_bytecode = True
    import numba  # noqa: F401
    import scipy  # noqa: F401

    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    os.dup2(sys.stdout.fileno(), 2)
    for line in sys.stdin:
        name, source, first = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                child(name, source, first, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            begun = pipe.read().split("\n")
        _, status = os.waitpid(pid, 0)
        killer = None if status == 0 else (begun[-2] if len(begun) > 1 else str(ROOT / "golden" / "arithmetic.fqg"))
        print(json.dumps(killer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
