# SPDX-License-Identifier: Apache-2.0
"""The repository as a Zephyr module: listed in somebody's west manifest, or named by its folder; suites on more platforms than we build."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from fqt_ref import zephyr
from fqt_ref.errors import FqtError

ROOT = Path(__file__).resolve().parents[1]
FURTHER = ("native_sim", "mps2/an385", "mps2/an521/cpu0", "mps3/an547")  # host, Cortex-M3, M33, M55


@pytest.fixture(scope="module")
def workspace():
    """(Zephyr tree, environment) or a skip that says why."""
    try:
        base = zephyr.find_zephyr()
        return base, zephyr.environment(base)
    except FqtError as error:
        pytest.skip(str(error))


def module_dirs(base, env, folder, arguments):
    """Zephyr's own answer: {what: place} of module fqt."""
    files = {kind: folder / kind for kind in ("kconfig", "cmake", "settings")}
    outs = [argument for kind, path in files.items() for argument in (f"--{kind}-out", path)]
    command = [zephyr.python_for(base), base / "scripts/zephyr_module.py", "--zephyr-base", base, *outs, *arguments]
    done = subprocess.run([*map(str, command)], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (name, place, cmake) = re.findall(r'"(fqt)":"(.*?)":"(.*?)"', files["cmake"].read_text())[0]
    assert name == "fqt"
    (kconfig,) = re.findall(r'osource "(.*?fqt/Kconfig)"', files["kconfig"].read_text())
    roots = dict(re.findall(r'"(BOARD_ROOT|SOC_ROOT|DTS_ROOT)":"(.*?)"', files["settings"].read_text()))
    return {"module": place, "cmake": cmake, "kconfig": kconfig, **roots}


def check_places(found, module):
    assert Path(found["module"]) == module
    assert Path(found["cmake"]).samefile(zephyr.APP / "lib/fqt")
    assert Path(found["kconfig"].replace("$(ZEPHYR_FQT_MODULE_DIR)", str(module))).samefile(zephyr.APP / "lib/fqt/Kconfig")
    assert [Path(found[root]).resolve() for root in ("BOARD_ROOT", "SOC_ROOT", "DTS_ROOT")] == [zephyr.APP] * 3


@pytest.mark.parametrize("module", [ROOT, zephyr.APP])
def test_repository_and_application_are_the_same_module(module, workspace, tmp_path):
    check_places(module_dirs(*workspace, tmp_path, ["--modules", module]), module)


def test_a_manifest_that_lists_the_repository_finds_the_module(workspace, tmp_path):
    base, env = workspace
    if subprocess.run(["git", "-C", ROOT, "rev-parse"], capture_output=True, check=False).returncode != 0:
        pytest.skip("not a git checkout: west takes it for a project that is still to be fetched")
    (tmp_path / ".west").mkdir()
    (tmp_path / ".west/config").write_text("[manifest]\npath = mine\nfile = west.yml\n")
    (tmp_path / "mine").mkdir()
    url = "url: https://example.com/fqt"
    (tmp_path / "mine/west.yml").write_text(f"manifest:\n  projects:\n    - name: fqt\n      {url}\n      path: lib/fqt\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/fqt").symlink_to(ROOT)
    found = module_dirs(base, env, tmp_path, [])
    assert Path(found["module"]) == tmp_path / "lib/fqt"
    assert Path(found["cmake"]).samefile(zephyr.APP / "lib/fqt")


def test_smallest_program_builds_with_the_repository_as_its_module(workspace):
    _, env = workspace
    build = zephyr.ROOT / "build" / "module"  # below ccache's base folder
    options = [f"-D{option}" for option in zephyr.cmake_options(env)]
    command = ["cmake", "--fresh", "-GNinja", f"-B{build}", f"-S{zephyr.APP / 'tests/smallest'}", "-DBOARD=qemu_cortex_m3"]
    command += [*options, f"-DEXTRA_ZEPHYR_MODULES={ROOT}"]
    for step in (command, ["cmake", "--build", build]):
        done = subprocess.run([*map(str, step)], env=env, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f'"fqt":"{ROOT}":' in (build / "zephyr_modules.txt").read_text()
    assert (build / "zephyr/zephyr.elf").exists()


def test_suites_can_be_run_on_further_platforms(workspace, tmp_path):
    """Ours builds none of these; a user may."""
    base, env = workspace
    platforms = [argument for name in FURTHER for argument in ("-p", name)]
    command = [zephyr.python_for(base), base / "scripts/twister", "-T", zephyr.APP, "-A", zephyr.APP / "boards", *platforms, "--dry-run"]
    done = subprocess.run([*map(str, command), "-O", str(tmp_path / "plan")], cwd=tmp_path, env=env, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip
    plan = tmp_path / "plan/testplan.json"
    assert plan.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    planned = {(s["platform"], s["name"].split(".")[-1]) for s in json.loads(plan.read_text())["testsuites"] if not s.get("reason")}
    kinds = {"operators", "training_step", "trajectory", "model_file", "smallest"}
    assert {(name, kind) for name in FURTHER for kind in kinds} <= planned
    assert {(name, "preemption") for name in FURTHER[1:]} <= planned  # native_sim's time stands still while a thread computes
