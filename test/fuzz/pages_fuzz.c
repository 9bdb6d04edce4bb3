/*
 * pages_fuzz.c - databases whose trees, graphs and catalog entries are damaged, and
 * nothing below them, through SQL.
 */
#include "test/fuzz/image_fuzz.h"

extern const struct fuzz_target pages_fuzz;
IMAGE_FUZZ(pages, IMAGE_PAGE | IMAGE_CATALOG, image_try_sql, IMAGE_SEED_TABLES,
           IMAGE_SEED_CODES);
