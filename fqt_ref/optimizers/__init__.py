# SPDX-License-Identifier: Apache-2.0
"""One update rule a file."""
