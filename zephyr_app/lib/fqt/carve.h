/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts the caller's memory into pieces; without memory it only counts, so that size and layout are one piece of code.
 */
#ifndef FQT_CARVE_H
#define FQT_CARVE_H

#include <stddef.h>
#include <stdint.h>

struct carve {
    uint8_t *memory; /* NULL: only count */
    uint64_t used;
};

/* The next piece; NULL while counting. Pieces are aligned to 4 bytes; those with pointers are taken first. */
static inline void *carve_take(struct carve *carve, uint64_t bytes) {
    void *piece = carve->memory == NULL ? NULL : carve->memory + carve->used;
    carve->used += (bytes + 3) / 4 * 4;
    return piece;
}

/* Bytes used; SIZE_MAX beyond 2 GB, where the kernels' 32-bit indices would end. */
static inline size_t carve_size(const struct carve *carve) {
    return carve->used <= INT32_MAX ? (size_t)carve->used : SIZE_MAX;
}

#endif
