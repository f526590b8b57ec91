# SPDX-License-Identifier: Apache-2.0
"""How large things from a file may become before anything is unpacked or computed: far beyond what a microcontroller could hold."""

MAX_ELEMENTS = 1 << 27  # of an array: 512 MiB as float32
