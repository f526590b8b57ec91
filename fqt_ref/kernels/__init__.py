# SPDX-License-Identifier: Apache-2.0
"""One operator a file: forward, error to the input, weight gradient, side by side.

The kernels work on one sample. Where they want another layout than SPEC.md's, it serves the compiler's vectorizer and changes no bit
(integer sums are exact, float32 sums keep SPEC.md's order): `weights_c` is [out, fan_in] with the zero point already subtracted,
`weights_t` the same as [fan_in, out], `columns` are the inputs under each tap, [fan_in, positions].
"""
