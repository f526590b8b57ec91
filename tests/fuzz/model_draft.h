/* SPDX-License-Identifier: Apache-2.0 */
/** Model files for the fuzzer: drawn at random, valid but at the limits, or with fields changed. */
#ifndef MODEL_DRAFT_H
#define MODEL_DRAFT_H

#include <stddef.h>
#include <stdint.h>

/** Writes a model file that is meant to be valid; returns its size, at most `capacity`. */
size_t draft_model(uint8_t *file, size_t capacity, uint32_t seed);

/** Changes one to four fields of header, tables and the start of the arrays to values that hurt. */
void draft_change_fields(uint8_t *file, size_t size, uint32_t seed);

/** Makes size and checksum right, so that the checks behind those are reached. */
void draft_seal(uint8_t *file, size_t size);

#endif
