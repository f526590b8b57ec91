/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Draws networks FIRST..LAST - 1 (model_draft.c) and trains each small one: a line with its number, and the checksum of
 * all that inference and training show. Every build prints the same.
 */
#include "model_draft.h"
#include "model_session.h"

#include "../c/check.h"
#include <string.h>

#define MOST_BYTES 16384u /* of a file */

/* Of words; what is not a number is one value, for its sign and payload are the machine's (SPEC.md section 10). */
static uint32_t add(uint32_t crc, const void *data, uint32_t bytes) {
    for (uint32_t at = 0; at < bytes; at += 4) {
        uint32_t word = 0;
        memcpy(&word, (const uint8_t *)data + at, bytes - at < 4 ? bytes - at : 4);
        word = (word & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC00000u : word;
        crc = fqt_crc32(crc, &word, sizeof word);
    }
    return crc;
}

static void watch(void *user, enum fqt_event kind, uint32_t index, const void *data, uint32_t bytes) {
    (void)kind;
    (void)index;
    *(uint32_t *)user = add(*(uint32_t *)user, data, bytes);
}

static uint32_t trace_of(const struct fqt_model *model, uint32_t seed) {
    uint32_t crc = 0;
    struct session s;
    struct fqt_trainer trainer;
    session_begin(&s, model, seed);
    session_train_mode(&s);
    struct fqt_train_config config = session_config(&s, 1);
    size_t size = fqt_trainer_memory_size(model);
    void *memory = room(size <= MOST_MEMORY ? size : 0);
    if (size <= MOST_MEMORY && fqt_trainer_init(&trainer, &s.network, &config, memory, size) == FQT_OK) {
        fqt_trainer_observe(&trainer, watch, &crc);
        for (uint32_t i = 0; i < 2 * config.batch_size; i++) {
            CHECK(fqt_train_step(&trainer, s.sample, i % s.classes, NULL) == FQT_OK);
        }
    }
    free(memory);
    session_end(&s);
    return crc;
}

int main(void) {
    static uint32_t file[MOST_BYTES / 4];
    for (uint32_t i = FIRST; i < LAST; i++) {
        size_t size = draft_model((uint8_t *)file, sizeof file, i);
        struct fqt_model model;
        draft_seal((uint8_t *)file, size);
        if (fqt_model_open(&model, file, size) == FQT_OK && model_is_small(&model)) {
            printf("%lu %08lx\n", (unsigned long)i, (unsigned long)trace_of(&model, i + 1));
        }
    }
    return 0;
}
