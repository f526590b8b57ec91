/* SPDX-License-Identifier: Apache-2.0 */
/* The golden file: walking through it and comparing (SPEC.md section 12). */
#include "replay.h"
#include "replay_internal.h"

#include <fqt/model_file.h>

#include <string.h>

#define HEADER_SIZE 32u
#define CASE_HEADER_SIZE 64u
#define FIRST_TRAINING_KIND 100u
#define LAST_TRAINING_KIND 105u

static uint32_t word_at(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

int replay_open(struct replay_file *file, const void *image, size_t size) {
    const uint8_t *bytes = image;
    if ((uintptr_t)image % 4 != 0 || size < HEADER_SIZE || memcmp(bytes, "FQG1", 4) != 0 || word_at(bytes + 4) != 1 ||
        word_at(bytes + 8) != size || fqt_crc32(0, bytes + 16, size - 16) != word_at(bytes + 12)) {
        return -1;
    }
    *file = (struct replay_file){bytes, size, HEADER_SIZE, word_at(bytes + 16), 0};
    return 0;
}

static uint32_t size_of(enum replay_type type) {
    return type == REPLAY_U8 || type == REPLAY_I8 ? 1 : 4;
}

int replay_next(struct replay_file *file, struct replay_case *replay_case) {
    if (file->next == file->n_cases) {
        return file->at == file->size ? 0 : -1;
    }
    const uint8_t *start = file->image + file->at;
    size_t left = file->size - file->at;
    if (left < CASE_HEADER_SIZE || word_at(start) > left || word_at(start) < CASE_HEADER_SIZE) {
        return -1;
    }
    uint32_t size = word_at(start);
    memset(replay_case, 0, sizeof *replay_case);
    replay_case->kind = word_at(start + 4);
    replay_case->n_arrays = word_at(start + 8);
    memcpy(replay_case->name, start + 16, REPLAY_NAME_SIZE);
    if (replay_case->n_arrays > REPLAY_MAX_ARRAYS || size < CASE_HEADER_SIZE + 12 * replay_case->n_arrays) {
        return -1;
    }
    for (uint32_t i = 0; i < replay_case->n_arrays; i++) {
        const uint8_t *entry = start + CASE_HEADER_SIZE + 12 * i;
        struct replay_array *array = &replay_case->arrays[i];
        uint32_t offset = word_at(entry + 8);
        array->type = (enum replay_type)word_at(entry);
        array->count = word_at(entry + 4);
        if (offset % 4 != 0 || offset > size || array->count > (size - offset) / size_of(array->type)) {
            return -1;
        }
        array->data = start + offset;
    }
    file->at += size;
    file->next++;
    return 1;
}

/* ---- What the groups use ---- */

const void *replay_take(struct replay_run *run, enum replay_type type, uint64_t count) {
    const struct replay_case *c = run->replay_case;
    uint32_t i = run->next_array++;
    if (i >= c->n_arrays || c->arrays[i].type != type || c->arrays[i].count != count) {
        run->malformed = true;
        return NULL;
    }
    return c->arrays[i].data;
}

uint32_t replay_count(const struct replay_run *run) {
    return run->next_array < run->replay_case->n_arrays ? run->replay_case->arrays[run->next_array].count : 0;
}

/* What stands behind a piece of work memory; `before` leads to the guard of the piece before. */
struct guard {
    uint32_t mark, before;
};

#define GUARD_MARK 0xA5C3F01Eu

void *replay_room(struct replay_run *run, uint64_t bytes) {
    uint64_t rounded = (bytes + 7) / 8 * 8 + sizeof(struct guard);
    if (rounded > run->work_left) {
        run->no_memory = true;
        return NULL;
    }
    uint8_t *room = run->work;
    uint8_t *at = room + (bytes + 3) / 4 * 4; /* whole words are the caller's */
    struct guard guard = {GUARD_MARK, run->last_guard == NULL ? 0 : (uint32_t)(at - run->last_guard)};
    memcpy(at, &guard, sizeof guard);
    run->last_guard = at;
    run->work += rounded;
    run->work_left -= (size_t)rounded;
    return room;
}

/* Nothing has been written behind the pieces of work memory. */
static void check_guards(struct replay_run *run) {
    struct replay_difference where = {.array = REPLAY_MAX_ARRAYS, .type = REPLAY_U32};
    struct guard guard = {GUARD_MARK, 1};
    for (uint8_t *at = run->last_guard; at != NULL && guard.mark == GUARD_MARK && guard.before != 0;
         at -= guard.before) {
        memcpy(&guard, at, sizeof guard);
        replay_compare(run, where, GUARD_MARK, guard.mark);
    }
}

void *replay_copy(struct replay_run *run, enum replay_type type, uint64_t count) {
    const void *from = replay_take(run, type, count);
    void *to = from == NULL ? NULL : replay_room(run, count * size_of(type));
    return to == NULL ? NULL : memcpy(to, from, (size_t)count * size_of(type));
}

bool replay_ready(const struct replay_run *run) {
    return !run->malformed && !run->no_memory;
}

uint32_t replay_element(enum replay_type type, const void *data, uint32_t i) {
    const uint8_t *bytes = data;
    switch (type) {
    case REPLAY_U8:
        return bytes[i];
    case REPLAY_I8:
        return (uint32_t)(int32_t)(int8_t)bytes[i];
    default:
        return word_at(bytes + 4u * i);
    }
}

void replay_compare(struct replay_run *run, struct replay_difference where, uint32_t expected, uint32_t got) {
    run->report->values_compared++;
    if (expected == got) {
        return;
    }
    run->different = true;
    if (run->report->differences++ > 0) {
        return;
    }
    memcpy(where.name, run->replay_case->name, sizeof where.name);
    where.kind = run->replay_case->kind;
    where.expected = expected;
    where.got = got;
    run->report->first = where;
}

void replay_check(struct replay_run *run, const void *got) {
    uint32_t index = run->next_array++;
    if (index >= run->replay_case->n_arrays) {
        run->malformed = true;
        return;
    }
    const struct replay_array *array = &run->replay_case->arrays[index];
    struct replay_difference where = {.array = index, .type = array->type};
    for (uint32_t i = 0; i < array->count; i++) {
        where.element = i;
        replay_compare(run, where, replay_element(array->type, array->data, i), replay_element(array->type, got, i));
    }
}

static void run_case(struct replay_run *run) {
    bool known = replay_arithmetic(run) || replay_kernels(run) || replay_update(run) || replay_training(run);
    check_guards(run);
    if (!known || (replay_ready(run) && run->next_array != run->replay_case->n_arrays)) {
        run->malformed = true;
    }
}

enum replay_result replay_case(const struct replay_case *replay_case, void *work, size_t work_size,
                               struct replay_report *report) {
    struct replay_run run = {.replay_case = replay_case, .work = work, .work_left = work_size, .report = report};
    run_case(&run);
    if (run.malformed) {
        report->malformed++;
        return REPLAY_MALFORMED;
    }
    if (run.no_memory) {
        report->no_memory++;
        return REPLAY_NO_MEMORY;
    }
    report->cases++;
    report->networks += replay_case->kind >= FIRST_TRAINING_KIND && replay_case->kind <= LAST_TRAINING_KIND;
    return run.different ? REPLAY_DIFFERENT : REPLAY_EQUAL;
}
