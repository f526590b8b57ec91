# SPDX-License-Identifier: Apache-2.0
"""How large what comes from a file may become before it is unpacked or computed, far beyond any microcontroller; what damage ends in."""

import struct

# What code that reads foreign files meets when they are damaged.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError, StopIteration, struct.error)
MAX_ELEMENTS = 1 << 27  # of an array, and of all that is folded together: 512 MiB as float32
MAX_PRODUCTS = 1 << 32  # of a multiplication of constants
MAX_FEATURES = 1 << 24  # of one feature map
MAX_COLUMNS = 1 << 28  # of a convolution: fan-in times positions
