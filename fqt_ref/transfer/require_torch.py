# SPDX-License-Identifier: Apache-2.0
"""PyTorch is an extra: its absence is said in one line."""

from fqt_ref.errors import FqtError


def require_torch() -> None:
    """Raises FqtError when the extra is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise FqtError("pretraining and pruning need PyTorch: pip install 'fqt[torch]'") from error
