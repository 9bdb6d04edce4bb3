/*
 * sorted_model.h - what an ordered map should hold, as simply as possible: a
 * sorted array of key and value copies. Trees are compared with it.
 */
#ifndef TURDB_TEST_SORTED_MODEL_H
#define TURDB_TEST_SORTED_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

struct model_entry {
	struct span key, value; /* own copies */
};

struct sorted_model {
	struct model_entry *entries;
	size_t count, room;
};

/* The first entry whose key is not smaller. */
size_t model_find(const struct sorted_model *model, struct span key,
                  bool *found);
void model_put(struct sorted_model *model, struct span key, struct span value);
bool model_delete(struct sorted_model *model, struct span key);
void model_copy(struct sorted_model *to, const struct sorted_model *from);
void model_free(struct sorted_model *model);

int model_compare(struct span a, struct span b);

#endif
