/*
 * cursor_bounds.c - conditions on the columns of an index become two keys.
 *
 * Equalities are the prefix that all entries share; a range on the column behind
 * them moves `low` (the first key) or `high` (the first key beyond; empty: no bound).
 * Values too long for a key bound only by the bytes that are sure. A range that may
 * be LIKE's leaves out a gap: what lies between its texts and the blobs.
 */
#include "vtab/cursor.h"

/* Appends one bound's value; *cut: it was shortened, so only what is sure serves. */
static int bound_append(struct key_buffer *key, const struct value *value,
                        const struct key_column *column, bool *cut,
                        struct err *err)
{
	int rc = key_append(key, value, column, err);

	*cut = !rc && key->shortened;
	if (*cut)
		key->size = key->sure_size;
	return rc;
}

/* One range condition on the column behind the equalities, which `work` holds; they
 * are `prefix_size` bytes. */
static int apply_range(struct table_cursor *cursor, char letter,
                       const struct value *value,
                       const struct key_column *column, size_t prefix_size,
                       struct key_buffer *work, struct err *err)
{
	bool lower = (letter == ARG_GE || letter == ARG_GT) != column->descending;
	bool inclusive = letter == ARG_GE || letter == ARG_LE;
	struct span own, low = key_bytes(&cursor->low);
	struct span high = key_bytes(&cursor->high);
	bool cut;
	int rc = bound_append(work, value, column, &cut, err);

	/* In key order: the bound's own entries begin with these bytes. */
	if (!rc && (lower ? !inclusive && !cut : inclusive || cut))
		rc = key_to_prefix_end(work, err);
	own = key_bytes(work);
	if (!rc && lower &&
	    (low.size <= prefix_size || span_compare(own, low) > 0))
		rc = key_buffer_set(&cursor->low, own, err);
	if (!rc && !lower && (!high.size || span_compare(own, high) < 0))
		rc = key_buffer_set(&cursor->high, own, err);
	return rc;
}

/* ARG_LT_BUT_BLOBS: everything from the bound to the blobs is left out. A gap that is
 * there already gets no smaller. */
static int apply_gap(struct table_cursor *cursor, const struct value *value,
                     const struct key_column *column, struct span prefix,
                     struct key_buffer *work, struct err *err)
{
	const struct value first_blob = { .type = VALUE_BLOB,
		                          .bytes = span_of("", 0) };
	struct key_buffer *edge = column->descending ? &cursor->gap_to
	                                             : &cursor->gap_from;
	struct key_buffer *blobs = column->descending ? &cursor->gap_from
	                                              : &cursor->gap_to;
	bool cut;
	int rc = bound_append(work, value, column, &cut, err);

	/* In key order, as in apply_range(). */
	if (!rc && (column->descending ? !cut : cut))
		rc = key_to_prefix_end(work, err);
	if (!rc && (!cursor->has_gap ||
	            (span_compare(key_bytes(work), key_bytes(edge)) < 0) !=
	                    column->descending))
		rc = key_buffer_set(edge, key_bytes(work), err);
	if (!rc)
		rc = key_buffer_set(work, prefix, err);
	if (!rc)
		rc = bound_append(work, &first_blob, column, &cut, err);
	if (!rc && column->descending)
		rc = key_to_prefix_end(work, err);
	if (!rc)
		rc = key_buffer_set(blobs, key_bytes(work), err);
	cursor->has_gap = !rc;
	return rc;
}

int cursor_bounds_of_prefix(struct table_cursor *cursor,
                            struct span prefix, struct err *err)
{
	int rc;

	cursor->has_gap = false;
	key_buffer_reset(&cursor->low);
	key_buffer_reset(&cursor->high);
	if (!prefix.size)
		return ERR_NONE;
	rc = key_buffer_set(&cursor->low, prefix, err);
	if (!rc)
		rc = key_buffer_set(&cursor->high, prefix, err);
	return rc ? rc : key_to_prefix_end(&cursor->high, err);
}

/* The equalities become the prefix of the keys to walk; *narrow false when one of
 * them was the last that could narrow, or the rows have been gathered. */
static int take_equalities(struct table_cursor *cursor, uint32_t equal_count,
                           const char *letters, int argc, sqlite3_value **argv,
                           struct key_buffer *prefix, bool *narrow,
                           bool *empty, struct err *err)
{
	struct table *table = table_of(cursor);
	const struct index_definition *definition = cursor->index->definition;
	int rc = ERR_NONE;

	for (int i = 0; !rc && i < (int)equal_count && i < argc; i++) {
		uint32_t column = definition->columns[i].column;
		struct value value = { .type = VALUE_NULL };
		bool loose = false, texts = false;

		if (letters[i] != ARG_NULL)
			value_probe(argv[i],
			            table->definition.columns[column].affinity,
			            &value, &loose);
		if (letters[i] == ARG_EQUAL && value.type == VALUE_NULL)
			*empty = true;
		if (!*narrow && letters[i] == ARG_IN)
			in_values_end(&cursor->in); /* one walk for all */
		if (!*narrow)
			continue;
		/* The first number of a list takes the texts for all. */
		if (loose && !(letters[i] == ARG_IN && cursor->in.at > 1))
			rc = cursor_loose_exists(cursor, key_bytes(prefix), &value,
			                         &cursor->index->columns[i],
			                         &texts, err);
		if (!rc && texts) {
			*narrow = false;
			rc = cursor_loose_gather(cursor, equal_count,
			                         key_bytes(prefix), &value,
			                         &cursor->index->columns[i],
			                         err);
			continue;
		}
		/* Equal values are shortened to equal bytes. */
		if (!rc)
			rc = key_append(prefix, &value,
			                &cursor->index->columns[i], err);
	}
	return rc;
}

static int take_range(struct table_cursor *cursor, uint32_t equal_count,
                      char letter, sqlite3_value *from,
                      struct span prefix, bool *empty, struct err *err)
{
	struct table *table = table_of(cursor);
	const struct key_column *column = &cursor->index->columns[equal_count];
	enum affinity affinity =
		table->definition.columns[cursor->index->definition
		                                  ->columns[equal_count]
		                                  .column].affinity;
	struct key_buffer work;
	struct value value;
	bool loose;
	int rc;

	value_probe(from, affinity, &value, &loose);
	if (value.type == VALUE_NULL)
		*empty = true;
	/* Texts come behind the numbers, so a lower bound leaves them in. */
	if (loose && (affinity == AFFINITY_TEXT || letter == ARG_LT ||
	              letter == ARG_LE))
		return ERR_NONE;
	key_buffer_init(&work, table->connection->heap);
	rc = key_buffer_set(&work, prefix, err);
	if (!rc && letter == ARG_LT_BUT_BLOBS)
		rc = apply_gap(cursor, &value, column, prefix, &work, err);
	else if (!rc)
		rc = apply_range(cursor, letter, &value, column, prefix.size,
		                 &work, err);
	key_buffer_close(&work);
	return rc;
}

int cursor_bounds_take(struct table_cursor *cursor, uint32_t equal_count,
                       const char *letters, int argc, sqlite3_value **argv,
                       bool *empty, struct err *err)
{
	struct key_buffer prefix;
	bool narrow = true;
	int rc;

	*empty = false;
	key_buffer_init(&prefix, table_of(cursor)->connection->heap);
	rc = take_equalities(cursor, equal_count, letters, argc, argv, &prefix,
	                     &narrow, empty, err);
	if (!rc && !cursor->gathered)
		rc = cursor_bounds_of_prefix(cursor, key_bytes(&prefix), err);
	cursor->equal_count = equal_count;
	cursor->prefix_size = prefix.size;
	for (int i = (int)equal_count; !rc && narrow && i < argc; i++)
		rc = take_range(cursor, equal_count, letters[i], argv[i],
		                key_bytes(&prefix), empty, err);
	key_buffer_close(&prefix);
	return rc;
}
