# SPDX-License-Identifier: Apache-2.0
"""Transfer learning: pretrain and prune in PyTorch (extra: torch), then quantize, reset the last layers and retrain them here."""
