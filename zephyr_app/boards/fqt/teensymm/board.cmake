# SPDX-License-Identifier: Apache-2.0

board_runner_args(teensy "--mcu=TEENSY_MICROMOD")

include(${ZEPHYR_BASE}/boards/common/teensy.board.cmake)
