/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Replays a golden file and prints one line of JSON. Exit code: 0 all equal, 1 something differs, 2 the file or a case
 * could not be used.
 *
 * Host: the file's path is the argument. Bare metal: FQT_GOLDEN_ADDRESS is where QEMU has put the file, FQT_WORK_BYTES
 * the work memory.
 */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef FQT_GOLDEN_ADDRESS

static uint64_t work_memory[FQT_WORK_BYTES / 8];

static const void *load(int argc, char **argv, size_t *size) {
    (void)argc;
    (void)argv;
    const uint8_t *image = (const uint8_t *)FQT_GOLDEN_ADDRESS;
    uint32_t file_size;
    memcpy(&file_size, image + 8, sizeof file_size);
    *size = memcmp(image, "FQG1", 4) == 0 ? file_size : 0;
    return image;
}

static void unload(const void *image) {
    (void)image;
}

#else

#define FQT_WORK_BYTES (1u << 26)
static uint64_t work_memory[FQT_WORK_BYTES / 8];

static const void *load(int argc, char **argv, size_t *size) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL) {
        return NULL;
    }
    (void)fseek(file, 0, SEEK_END);
    long length = ftell(file);
    rewind(file);
    void *image = length > 0 ? malloc((size_t)length) : NULL; /* exact size: the sanitizer sees a read beyond it */
    *size = image == NULL ? 0 : fread(image, 1, (size_t)length, file);
    (void)fclose(file);
    return image;
}

static void unload(const void *image) {
    free((void *)image);
}

#endif

/* Case names are ASCII; quotes and backslashes would end the string. */
static void print_name(const char *name) {
    for (; *name != '\0'; name++) {
        (void)putchar(*name == '"' || *name == '\\' || *name < ' ' ? '_' : *name);
    }
}

static void print_report(const struct replay_report *r, const char *unusable) {
    printf("{\"cases\": %lu, \"networks\": %lu, \"values_compared\": %lu, \"differences\": %lu, \"no_memory\": %lu, "
           "\"malformed\": %lu, \"unusable\": \"",
           (unsigned long)r->cases, (unsigned long)r->networks, (unsigned long)r->values_compared,
           (unsigned long)r->differences, (unsigned long)r->no_memory, (unsigned long)r->malformed);
    print_name(unusable);
    printf("\", \"first\": ");
    if (r->differences == 0) {
        printf("null}\n");
        return;
    }
    const struct replay_difference *d = &r->first;
    printf("{\"case\": \"");
    print_name(d->name);
    printf("\", \"kind\": %lu, \"array\": %lu, \"record_kind\": %lu, \"record_index\": %lu, \"type\": %lu, "
           "\"element\": %lu, \"expected\": %lu, \"got\": %lu}}\n",
           (unsigned long)d->kind, (unsigned long)d->array, (unsigned long)d->record_kind,
           (unsigned long)d->record_index, (unsigned long)d->type, (unsigned long)d->element,
           (unsigned long)d->expected, (unsigned long)d->got);
}

static int replay_all(const void *image, size_t size) {
    static struct replay_case current;
    static struct replay_report report;
    static char unusable[REPLAY_NAME_SIZE + 1];
    struct replay_file file;
    if (image == NULL || replay_open(&file, image, size) != 0) {
        print_report(&report, "not a golden file");
        return 2;
    }
    int more;
    while ((more = replay_next(&file, &current)) > 0) {
        enum replay_result result = replay_case(&current, work_memory, sizeof work_memory, &report);
        if ((result == REPLAY_NO_MEMORY || result == REPLAY_MALFORMED) && unusable[0] == '\0') {
            memcpy(unusable, current.name, sizeof unusable);
        }
    }
    print_report(&report, more < 0 ? "damaged golden file" : unusable);
    if (more < 0 || report.no_memory > 0 || report.malformed > 0) {
        return 2;
    }
    return report.differences > 0 ? 1 : 0;
}

int main(int argc, char **argv) {
    size_t size = 0;
    const void *image = load(argc, argv, &size);
    int code = replay_all(image, size);
    unload(image);
    return code;
}
