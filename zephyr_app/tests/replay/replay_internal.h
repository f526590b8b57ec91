/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that replay groups of cases share. */
#ifndef FQT_REPLAY_INTERNAL_H
#define FQT_REPLAY_INTERNAL_H

#include "replay.h"

#include <stdbool.h>

/* One case while it runs. A function first takes all arrays and all memory, then asks replay_ready(), then runs and
 * checks. */
struct replay_run {
    const struct replay_case *replay_case;
    uint32_t next_array;
    uint8_t *work;
    size_t work_left;
    uint8_t *last_guard; /* behind the latest piece of work memory */
    struct replay_report *report;
    bool malformed;
    bool no_memory;
    bool different;
};

/* The data of the next array, which must have this type and count; NULL otherwise, and the case is malformed. */
const void *replay_take(struct replay_run *run, enum replay_type type, uint64_t count);

/* Number of elements of the next array; 0 if there is none. */
uint32_t replay_count(const struct replay_run *run);

/* Work memory, with a guard behind it: a case that writes there differs. NULL if there is too little. */
void *replay_room(struct replay_run *run, uint64_t bytes);

/* A copy of the next array in work memory. */
void *replay_copy(struct replay_run *run, enum replay_type type, uint64_t count);

/* Whether everything asked for was there. */
bool replay_ready(const struct replay_run *run);

/* Compares the next array with what was computed. */
void replay_check(struct replay_run *run, const void *got);

/* Compares one value of an array or record; where: all but name, kind, expected and got. */
void replay_compare(struct replay_run *run, struct replay_difference where, uint32_t expected, uint32_t got);

/* Element i of an array of a type, as bits widened to 32. */
uint32_t replay_element(enum replay_type type, const void *data, uint32_t i);

/* The groups. Each returns false if the kind is not its. */
bool replay_arithmetic(struct replay_run *run);
bool replay_kernels(struct replay_run *run);
bool replay_update(struct replay_run *run);
bool replay_training(struct replay_run *run);

#endif
