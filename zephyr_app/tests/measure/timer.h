/* SPDX-License-Identifier: Apache-2.0 */
/* A timer of the emulated machine. Under QEMU's `-icount shift=0` an instruction takes a nanosecond. */
#ifndef TIMER_H
#define TIMER_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#ifdef FQT_TIMER_NRF /* QEMU's micro:bit: TIMER0, 32 bits, 16 MHz */
static inline void timer_start(void) {
    REGISTER(0x40008508u) = 3;
    REGISTER(0x40008510u) = 0;
    REGISTER(0x40008000u) = 1;
}

static inline uint32_t timer_now(void) {
    REGISTER(0x40008040u) = 1;
    return REGISTER(0x40008540u);
}
#else /* QEMU's MPS2 machines: CMSDK timer 0, counts down at 25 MHz */
static inline void timer_start(void) {
    REGISTER(0x40000008u) = UINT32_MAX;
    REGISTER(0x40000004u) = UINT32_MAX;
    REGISTER(0x40000000u) = 1;
}

static inline uint32_t timer_now(void) {
    return ~REGISTER(0x40000004u);
}
#endif

#endif
