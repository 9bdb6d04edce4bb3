/*
 * tree_bed.h - a tree over a memory pager beside its model: one bed for all
 * tests of trees.
 */
#ifndef TURDB_TEST_TREE_BED_H
#define TURDB_TEST_TREE_BED_H

#include "btree/btree.h"
#include "test/harness.h"
#include "test/support/memory_pager.h"
#include "test/support/sorted_model.h"

enum { BED_KEY_SIZE_MAX = 4096 };

enum bed_keys {
	BED_ROWIDS,        /* random rowids from a small range               */
	BED_ROWIDS_WIDE,   /* from all of them                               */
	BED_SHORT,         /* 0 to 3 bytes of a small alphabet, NULs too     */
	BED_PREFIXED,      /* long common prefixes, numbered                 */
	BED_WILD,          /* any size up to the limit, few distinct bytes   */
	BED_KEYS_COUNT,
};

struct tree_bed {
	struct heap heap;
	struct memory_pager *memory;
	struct btree tree;
	struct sorted_model model;
	uint64_t random, steps;
	uint32_t usable_size;
	enum bed_keys keys;
	uint32_t variety;        /* about how many distinct keys  */
	uint32_t value_size_max;
};

/* A fresh tree in an open transaction. */
int bed_open(struct tree_bed *bed, struct test *t, enum bed_keys keys,
             uint32_t usable_size, bool unkind);
void bed_close(struct tree_bed *bed);

/* A random key in `key`, a random value in `value` (room: value_size_max). */
struct span bed_key(struct tree_bed *bed, uint8_t key[BED_KEY_SIZE_MAX]);
struct span bed_value(struct tree_bed *bed, uint8_t *value);

/* One random operation on tree and model; non-zero: why says what differs. */
int bed_step(struct tree_bed *bed, struct test *t);

/* btree_verify, no page leaked, and with `scan` every entry as in the model. */
int bed_check(struct tree_bed *bed, struct test *t, bool scan);

#endif
