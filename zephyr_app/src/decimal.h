/* SPDX-License-Identifier: Apache-2.0 */
/** Fractions of Kconfig's integers: DECIMAL(15, 8) is the constant 15e-8f, rounded once, by the compiler. */
#ifndef FQT_APP_DECIMAL_H
#define FQT_APP_DECIMAL_H

#define DECIMAL_PASTE(digits, exponent) digits##e## - ##exponent##f
#define DECIMAL(digits, exponent) DECIMAL_PASTE(digits, exponent)

#endif
