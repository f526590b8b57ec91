# SPDX-License-Identifier: Apache-2.0

# teensy40's devicetree is the base of ours.
list(APPEND DTS_EXTRA_CPPFLAGS -isystem ${ZEPHYR_BASE}/boards/pjrc/teensy4)
