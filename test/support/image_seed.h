/*
 * image_seed.h - small databases of every shape, as images.
 */
#ifndef TURDB_TEST_SUPPORT_IMAGE_SEED_H
#define TURDB_TEST_SUPPORT_IMAGE_SEED_H

#include "test/support/image.h"

enum image_seed_kind {
	IMAGE_SEED_TABLES,   /* ordinary and turdb tables, vectors; closed        */
	IMAGE_SEED_KILLED,   /* the same, killed: the last commits are in the log */
	IMAGE_SEED_CODES,    /* enough vectors for SQ8                            */
	IMAGE_SEED_LOG,      /* several segments, large commits, dropped files    */
	IMAGE_SEED_DEEP,     /* page tables of two levels, free pages, many files */
	IMAGE_SEED_KINDS
};

/* Made at the first call (a program's only once); lives for ever. */
const struct image *image_seed(enum image_seed_kind kind);

#endif
