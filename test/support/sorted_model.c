/*
 * sorted_model.c - a sorted array that owns its bytes.
 */
#include "test/support/sorted_model.h"

#include <stdlib.h>
#include <string.h>

static struct span copied(struct span bytes)
{
	uint8_t *copy = malloc(bytes.size + 1);

	if (!copy)
		abort();
	if (bytes.size)
		memcpy(copy, bytes.data, bytes.size);
	return span_of(copy, bytes.size);
}

static void dropped(struct span bytes)
{
	free((void *)(uintptr_t)bytes.data);
}

int model_compare(struct span a, struct span b)
{
	size_t size = a.size < b.size ? a.size : b.size;
	int order = size ? memcmp(a.data, b.data, size) : 0;

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

size_t model_find(const struct sorted_model *model, struct span key,
                  bool *found)
{
	size_t low = 0, high = model->count;

	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = model_compare(model->entries[middle].key, key);

		*found |= order == 0;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void model_put(struct sorted_model *model, struct span key, struct span value)
{
	bool found;
	size_t at = model_find(model, key, &found);

	if (found) {
		dropped(model->entries[at].value);
		model->entries[at].value = copied(value);
		return;
	}
	if (model->count == model->room) {
		model->room = model->room ? model->room * 2 : 64;
		model->entries = realloc(model->entries, model->room *
		                         sizeof *model->entries);
		if (!model->entries)
			abort();
	}
	memmove(model->entries + at + 1, model->entries + at,
	        (model->count - at) * sizeof *model->entries);
	model->entries[at] = (struct model_entry){ copied(key), copied(value) };
	model->count++;
}

bool model_delete(struct sorted_model *model, struct span key)
{
	bool found;
	size_t at = model_find(model, key, &found);

	if (!found)
		return false;
	dropped(model->entries[at].key);
	dropped(model->entries[at].value);
	model->count--;
	memmove(model->entries + at, model->entries + at + 1,
	        (model->count - at) * sizeof *model->entries);
	return true;
}

void model_copy(struct sorted_model *to, const struct sorted_model *from)
{
	model_free(to);
	for (size_t i = 0; i < from->count; i++)
		model_put(to, from->entries[i].key, from->entries[i].value);
}

void model_free(struct sorted_model *model)
{
	for (size_t i = 0; i < model->count; i++) {
		dropped(model->entries[i].key);
		dropped(model->entries[i].value);
	}
	free(model->entries);
	*model = (struct sorted_model){ 0 };
}
