# SPDX-License-Identifier: Apache-2.0
"""Golden files notice changes of the engine and of the C library: a handful of mutants, each killed; and the tool that finds others."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest

from fqt_ref import device

SCRIPTS = device.ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))
import mutants  # noqa: E402
import mutants_c  # noqa: E402
import mutants_python  # noqa: E402
from mutants_common import KILLED, NO_MUTANT, Golden, Mutant, changed  # noqa: E402

# A line of a file, and what it becomes: clauses that no golden file held once.
CLAUSES = (
    ("fqt_ref/arithmetic.py", "np.float32(x + np.float32(0.5))", "np.float32(np.round(x))"),  # fround is no round half to even
    ("fqt_ref/kernels/max_pool2d.py", "np.int32(-ERROR_MAX)", "np.int32(-128)"),  # the clamp of max pooling
    ("fqt_ref/train_step.py", "highest_of(y.scale, y.zero) if", "1000 if"),  # ReLU6's upper limit
    ("zephyr_app/lib/fqt/arithmetic.c", "(float)whole > shifted", "(float)whole > shifted + 1"),  # floor
    ("zephyr_app/lib/fqt/train_step.c", ".batch = (int32_t)trainer->samples,", ".batch = (int32_t)trainer->config.batch_size,"),
    ("zephyr_app/lib/fqt/optimizers/standardized_sgd.c", "excess > 0 ? excess : 0", "0"),  # h of each channel
)  # fmt: skip


def mutant_of(file: str, before: str, after: str) -> Mutant:
    """The mutant that changes the first place of `before`."""
    source = (device.ROOT / file).read_text()
    at = source.index(before)
    return Mutant.of(file, source, at, at + len(before), after)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """Judges mutants of both halves by all golden files."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    golden = Golden(device.ROOT / "golden")
    engine = mutants_python.Engine(1, golden)
    library = mutants_c.Library(tmp_path_factory.mktemp("mutants"), 1, golden)
    yield lambda mutant: (engine if mutant.file.endswith(".py") else library).judge(mutant)
    engine.close()


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: f"{clause[0]}: {clause[2]}")
def test_golden_files_notice(judge, clause):
    assert judge(mutant_of(*clause)) == KILLED


def test_a_change_that_changes_nothing_is_no_mutant(judge):
    assert judge(mutant_of("zephyr_app/lib/fqt/ranges.c", "#define RATE 0.1f", "#define  RATE 0.1f")) == NO_MUTANT
    assert judge(mutant_of("fqt_ref/ranges.py", "def update_range(", "def update_range((")) == NO_MUTANT


def test_mutants_are_small_changes_with_a_place():
    for path, module in ((device.APP / "lib/fqt/ranges.c", mutants_c), (device.ROOT / "fqt_ref/ranges.py", mutants_python)):
        source, found = path.read_text(), list(module.mutants_of(path))
        assert len(found) > 20
        for mutant in found:
            assert source.splitlines()[mutant.line - 1].strip() == mutant.text
            assert source[mutant.start : mutant.end] == mutant.before != mutant.after
            assert changed(source, mutant) != source
        assert {"update_range", "fqt_update_range"} & {mutant.function for mutant in found}
        assert len({json.dumps(asdict(mutant)) for mutant in found}) == len(found)


def test_comments_strings_and_directives_have_no_mutants():
    code = mutants_c.code_of('a; // 1 < 2\n/* 3 + 4\n5 */ "6 - 7"\n#define X 8 \\\n 9 + 1\nb;')
    assert code.split() == ["a;", "b;"]


def test_explanations_name_places_that_exist():
    for entry in mutants.Explanations(mutants.EXPLAINED).entries:
        found = [path for path in mutants.sources() if str(path).endswith(entry["file"])]
        assert found, entry
        text = "".join(path.read_text() for path in found)
        assert entry.get("function", "") in text, entry
        assert entry.get("line", "") in text, entry
        assert len(entry["reason"]) > 15


def test_the_command_samples_and_reports(tmp_path):
    command = [sys.executable, SCRIPTS / "mutants.py", "--only", "fqt_ref/ranges.py", "--sample", "3", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    report = json.loads(done.stdout)
    assert report["mutants"] + report["no_mutants"] == 3
    assert report["killed"] + len(report["survivors"]) == report["mutants"]
    assert not list(tmp_path.iterdir())
    wrong = subprocess.run([*command[:3], "nothing.c"], capture_output=True, text=True, timeout=300, check=False)
    assert wrong.returncode == 2
    assert "no file that defines bits ends so" in wrong.stderr
