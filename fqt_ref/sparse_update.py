# SPDX-License-Identifier: Apache-2.0
"""Dynamic sparse updates: which channels a sample trains (SPEC.md 5; Eq. 9)."""

from fqt_ref.jit import njit

RATE_ONE = 4096  # rates are Q12


@njit
def update_rate(loss, loss_max, lambda_min, lambda_max):
    """min(lambda_min + |eps| (lambda_max - lambda_min), 1) in Q12, |eps| = loss / largest loss so far. Loss: Q16."""
    eps = 0 if loss_max == 0 else (loss << 12) // loss_max
    return min(lambda_min + ((eps * (lambda_max - lambda_min)) >> 12), RATE_ONE)


@njit
def kept_channels(rate, channels):
    """k of Eq. 9, at least one."""
    return max(1, (rate * channels) >> 12)


@njit
def channel_norms(error, norms):
    """norms[co] = sum of |e| over positions, in raster order. error: [positions, channels]; norms: same type [channels]."""
    norms[:] = 0
    for position in range(error.shape[0]):
        row = error[position]
        for co in range(norms.size):
            norms[co] += abs(row[co])


@njit
def sparse_select(error, k, norms, chosen):
    """Zero the error of all but the k channels of largest l1 norm, ties to the lower index; count the kept ones.

    error: int32 or float32[positions, channels]; norms: same type [channels], scratch; chosen: int32[channels].
    """
    channel_norms(error, norms)
    for co in range(norms.size):
        better = 0
        for other in range(norms.size):
            if norms[other] > norms[co] or (norms[other] == norms[co] and other < co):
                better += 1
        if better < k:
            chosen[co] += 1
        else:
            for position in range(error.shape[0]):
                error[position, co] = 0
