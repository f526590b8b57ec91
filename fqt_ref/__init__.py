# SPDX-License-Identifier: Apache-2.0
"""Fully quantized training: the engine that defines every bit (SPEC.md)."""

__version__ = "0.1.0"
ARITHMETIC_VERSION = 1
MAX_CLASSES = 1023  # SPEC.md section 9
