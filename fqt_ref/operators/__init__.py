# SPDX-License-Identifier: Apache-2.0
"""How each operator of the layer table runs on a State: forward, weight gradient, error to an input. The arithmetic is in kernels/."""
