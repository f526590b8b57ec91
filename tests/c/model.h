/* SPDX-License-Identifier: Apache-2.0 */
/* What test programs lend to the library: a model file, and memory. It stays until the program ends. */
#ifndef MODEL_H
#define MODEL_H

#include "check.h"

#include <fqt/fqt.h>

static inline void *lend(size_t size) {
    void *memory = calloc(size + 4, 1); /* never NULL for want of bytes */
    CHECK(memory != NULL);
    return memory;
}

static inline void open_model(struct fqt_model *model, const char *path) {
    static uint32_t buffer[1 << 18];
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t size = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    CHECK(fqt_model_open(model, buffer, size) == FQT_OK);
}

#endif
