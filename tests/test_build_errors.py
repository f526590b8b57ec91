# SPDX-License-Identifier: Apache-2.0
"""What `west build` prints when it fails, as Zephyr 3.7, GCC and ninja wrote it, and the line that a user gets."""

import pytest

from fqt_ref.build_errors import LONGEST, explain, overflows, unknown_board

LINKER = "/usr/lib/gcc/arm-none-eabi/12.2.1/../../../arm-none-eabi/bin/ld.bfd: "
# Steps and files whose names hold the word error come first in every build.
STEPS = """[112/173] Building C object modules/fqt/CMakeFiles/fqt.dir/kernels/error_finish.c.obj
[113/173] Building C object zephyr/CMakeFiles/zephyr.dir/lib/os/assert.c.obj
"""
COMMAND = """FAILED: CMakeFiles/app.dir/src/main.c.obj
ccache /usr/bin/arm-none-eabi-gcc -DKERNEL -Werror=implicit-int -Wno-error=deprecated -o main.c.obj -c /home/me/app/src/main.c
"""
END = """ninja: build stopped: subcommand failed.
FATAL ERROR: command exited with status 1: /usr/bin/cmake --build /home/me/build
"""
CMAKE_END = """Call Stack (most recent call first):
  /home/me/zephyr/cmake/modules/zephyr_default.cmake:132 (include)
  CMakeLists.txt:4 (find_package)


FATAL ERROR: command exited with status 1: /usr/bin/cmake -B/home/me/build -GNinja -S/home/me/app
"""
KCONFIG_END = f"""
error: Aborting due to Kconfig warnings

CMake Error at /home/me/zephyr/cmake/modules/kconfig.cmake:389 (message):
  command failed with return code: 1
{CMAKE_END}"""

CASES = {
    "RAM": (
        f"{STEPS}FAILED: zephyr/zephyr_pre0.elf\n{LINKER}zephyr/zephyr_pre0.elf section `bss' will not fit in region `RAM'\n"
        f"{LINKER}region `RAM' overflowed by 957364 bytes\ncollect2: error: ld returned 1 exit status\n{END}",
        "RAM lacks 957364 bytes",
    ),
    "flash and RAM": (
        f"{STEPS}{LINKER}region `FLASH' overflowed by 2813860 bytes\n{LINKER}region `RAM' overflowed by 9 bytes\n{END}",
        "FLASH lacks 2813860 bytes; RAM lacks 9 bytes",
    ),
    "compiler": (
        f"{STEPS}{COMMAND}/home/me/app/src/main.c: In function 'main':\n"
        "/home/me/app/src/main.c:38:5: error: 'undeclared_thing' undeclared (first use in this function)\n"
        f"   38 |     undeclared_thing = 3;\n      |     ^~~~~~~~~~~~~~~~\n{END}",
        "/home/me/app/src/main.c:38:5: 'undeclared_thing' undeclared (first use in this function)",
    ),
    "missing header": (
        f"{STEPS}{COMMAND}/home/me/app/src/main.c:3:10: fatal error: nothing.h: No such file or directory\ncompilation terminated.\n{END}",
        "/home/me/app/src/main.c:3:10: nothing.h: No such file or directory",
    ),
    "assertion": (
        f"{STEPS}{COMMAND}/home/me/zephyr/include/zephyr/toolchain/gcc.h:87:36: error: static assertion failed: \"wanted: A < B\"\n"
        "   87 | #define BUILD_ASSERT(EXPR, MSG...) _Static_assert((EXPR), \"\" MSG)\n      |                ^~~~~~~~~~~~~~\n"
        f"../app/src/priorities.h:29:1: note: in expansion of macro 'BUILD_ASSERT'\n{END}",
        '../app/src/priorities.h:29: static assertion failed: "wanted: A < B"',
    ),
    "linker": (
        f"{STEPS}{LINKER}app/libapp.a(main.c.obj): in function `main':\n/home/me/app/src/main.c:39: undefined reference to `nowhere'\n"
        f"collect2: error: ld returned 1 exit status\n{END}",
        "the linker finds no nowhere",
    ),
    "board": (
        "No board named 'qemu_cortex_m33' found.\n\nPlease choose one of the following boards:\n\n"
        f"CMake Error at zephyr/cmake/modules/boards.cmake:244 (message):\n  Invalid BOARD; see above.\n{CMAKE_END}rpi_4b\nwarp7\n",
        "Zephyr knows no board 'qemu_cortex_m33'",
    ),
    "qualifiers": (
        "CMake Error at /home/me/zephyr/cmake/modules/boards.cmake:320 (message):\n"
        "  Board qualifiers `/nrf52841` for board `nrf52840dk` not found.  Please\n  specify a valid board target.\n\n"
        f"  Valid board targets for nrf52840dk are:\n\n  nrf52840dk/nrf52840\n\n  nrf52840dk/nrf52811\n\n{CMAKE_END}",
        "board nrf52840dk has no 'nrf52841': choose one of nrf52840dk/nrf52840, nrf52840dk/nrf52811",
    ),
    "CMake": (
        "CMake Warning at /home/me/zephyr/CMakeLists.txt:541 (message):\n  it doesn't appear to be a git\n  repository\n\n\n"
        f"CMake Error at cmake/fqt.cmake:23 (message):\n  /nowhere/m.fqt does not exist: nothing to embed\n{CMAKE_END}",
        "CMake: /nowhere/m.fqt does not exist: nothing to embed (fqt.cmake:23)",
    ),
    "Kconfig, unknown": (
        f"/home/me/my.conf:1: warning: attempt to assign the value 'y' to the undefined symbol FOO_BAR\n{KCONFIG_END}",
        "Kconfig: attempt to assign the value 'y' to the undefined symbol FOO_BAR",
    ),
    "Kconfig, out of range": (
        "\nwarning: FQT_APP_BATCH_SIZE (defined at /home/me/app/Kconfig:130) was assigned the value\n'999999' but got the value '8'. See\n"
        "http://docs.zephyrproject.org/latest/kconfig.html#CONFIG_FQT_APP_BATCH_SIZE and/or look up\nhelpful too.\n\n"
        f"\nwarning: user value 999999 on the int symbol FQT_APP_BATCH_SIZE ignored\n{KCONFIG_END}",
        "Kconfig: FQT_APP_BATCH_SIZE (defined at /home/me/app/Kconfig:130) was assigned the value '999999' but got the value '8'",
    ),
    "module": (
        "\nwarning: HAS_RPI_PICO (defined at modules/hal_rpi_pico/Kconfig:4) has direct dependencies 0 with value n, but is currently "
        f"being y-selected by the following symbols:\n - SOC_SERIES_RP2XXX (defined at Kconfig.soc:11)\n{KCONFIG_END}",
        "the workspace lacks the module hal_rpi_pico, which the board wants: fetch it with 'west update'",
    ),
    "devicetree": (
        "devicetree error: /chosen: undefined node label 'nouart'\n"
        f"CMake Error at /home/me/zephyr/cmake/modules/dts.cmake:296 (message):\n  gen_defines.py failed with return code: 1\n{CMAKE_END}",
        "devicetree: /chosen: undefined node label 'nouart'",
    ),
    "disk": (
        f"{STEPS}Traceback (most recent call last):\n  File \"gen_kobject_list.py\", line 1053, in main\n    with open(name) as fp:\n"
        f"OSError: [Errno 28] No space left on device\n{END}",
        "No space left on device: make room, or choose another folder with -o",
    ),
    "script": (
        f"{STEPS}Traceback (most recent call last):\n  File \"gen_defines.py\", line 117, in main\n    write_node_comment(node)\n"
        f"OSError: [Errno 27] File too large\n{END}",
        "OSError: [Errno 27] File too large",
    ),
    "package": (
        "Traceback (most recent call last):\n  File \"edtlib.py\", line 1, in <module>\n"
        "    import yaml\nModuleNotFoundError: No module named 'yaml'\n"
        f"CMake Error at /home/me/zephyr/cmake/modules/dts.cmake:296 (message):\n  gen_defines.py failed\n{CMAKE_END}",
        "Python's package yaml is missing: pip install 'fqt[zephyr]'",
    ),
    "west": ('west: unknown command "build"; do you need to run this inside a workspace?\n',
             'west: unknown command "build"; do you need to run this inside a workspace?'),
    "ninja": ("ninja: error: 'model.fqt', needed by 'embedded_model.S.obj', missing and no known rule to make it\n" + END,
              "ninja: 'model.fqt', needed by 'embedded_model.S.obj', missing and no known rule to make it"),
    "unheard of": (f"{STEPS}the last words\n{END}", "the last words"),
    "nothing": ("", "it printed nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_a_build_that_fails_says_what_failed(case):
    output, expected = CASES[case]
    assert explain(output) == expected


def test_whatever_it_prints_becomes_one_short_line():
    for output in ("x" * 5000, "CMake Error:\n" + "word \n" * 900, "\n\n\r\n", "Traceback (most recent call last):\n" + "  a\n" * 5000):
        line = explain(output)
        assert "\n" not in line
        assert len(line) <= LONGEST + 3


def test_regions_and_boards_are_read_for_a_remedy():
    assert overflows(CASES["flash and RAM"][0]) == {"FLASH": 2813860, "RAM": 9}
    assert unknown_board(CASES["board"][0]) == "qemu_cortex_m33"
    assert unknown_board(CASES["RAM"][0]) is None
