/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Replays golden files, `.fqg` (SPEC.md section 12): calls the library with each case's inputs and compares every
 * expected value bit for bit. Runs on the host, on bare metal and under Zephyr; needs no heap and prints nothing.
 */
#ifndef FQT_REPLAY_H
#define FQT_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#define REPLAY_NAME_SIZE 48
#define REPLAY_MAX_ARRAYS 12

enum replay_type { REPLAY_U8 = 1, REPLAY_I8 = 2, REPLAY_I32 = 3, REPLAY_U32 = 4, REPLAY_F32 = 5 };

/** How a case went. */
enum replay_result {
    REPLAY_EQUAL,
    REPLAY_DIFFERENT,
    REPLAY_NO_MEMORY, /**< not run: needs more work memory than given */
    REPLAY_MALFORMED, /**< not run: not the arrays that its kind wants, or a kind this library does not know */
};

/** One array of a case, in place. */
struct replay_array {
    enum replay_type type;
    uint32_t count;
    const void *data;
};

/** One case, in place. */
struct replay_case {
    char name[REPLAY_NAME_SIZE + 1];
    uint32_t kind;
    uint32_t n_arrays;
    struct replay_array arrays[REPLAY_MAX_ARRAYS];
};

/** A golden file in memory, and the place reached in it. */
struct replay_file {
    const uint8_t *image;
    size_t size;
    size_t at;
    uint32_t n_cases;
    uint32_t next;
};

/** The first value that differed. Values are bits, widened to 32. */
struct replay_difference {
    char name[REPLAY_NAME_SIZE + 1]; /**< of the case */
    uint32_t kind;                   /**< of the case */
    uint32_t array;                  /**< index of the expected array; REPLAY_MAX_ARRAYS: beyond its memory */
    uint32_t record_kind;            /**< traces: kind of the record (enum fqt_event); 0 otherwise */
    uint32_t record_index;           /**< traces: its layer or tensor */
    uint32_t type;                   /**< enum replay_type of the element */
    uint32_t element;                /**< index in the array or record */
    uint32_t expected;
    uint32_t got;
};

/** Sums over all cases so far. Start from all zeros. */
struct replay_report {
    uint32_t cases;    /**< run and compared */
    uint32_t networks; /**< of those, whole training runs */
    uint32_t values_compared;
    uint32_t differences; /**< values that differed */
    uint32_t no_memory;   /**< cases not run for want of work memory */
    uint32_t malformed;   /**< cases not understood */
    struct replay_difference first;
};

/** Opens a golden file in memory, aligned to 4 bytes. Returns 0, or -1 if it is damaged. */
int replay_open(struct replay_file *file, const void *image, size_t size);

/** The next case of a file. Returns 1, 0 at the end, or -1 if the file is damaged. */
int replay_next(struct replay_file *file, struct replay_case *replay_case);

/** Runs one case. work: aligned for a pointer, overwritten. Adds to the report. */
enum replay_result replay_case(const struct replay_case *replay_case, void *work, size_t work_size,
                               struct replay_report *report);

#endif
