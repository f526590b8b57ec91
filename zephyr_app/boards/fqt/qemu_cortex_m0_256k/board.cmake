# SPDX-License-Identifier: Apache-2.0

set(SUPPORTED_EMU_PLATFORMS qemu)

# 256 KB of RAM for the program, 64 KB behind it for the simulated flash.
set(QEMU_CPU_TYPE_${ARCH} cortex-m0)
set(QEMU_FLAGS_${ARCH}
  -cpu ${QEMU_CPU_TYPE_${ARCH}}
  -machine microbit
  -global nrf51-soc.sram-size=327680
  -global nrf51-soc.flash-size=1048576
  -nographic
  -vga none
)

board_set_debugger_ifnset(qemu)
