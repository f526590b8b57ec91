# SPDX-License-Identifier: Apache-2.0
"""Executed instructions of the C library on emulated cores: kernels, whole training steps, cycle estimates, and the figures of peers."""
