/*
 * catalog_fuzz.c - databases with a damaged catalog: its entries, its pages, the
 * superblocks that lead to it, and the headers of the files that it names.
 */
#include "test/fuzz/image_fuzz.h"

extern const struct fuzz_target catalog_fuzz;
IMAGE_FUZZ(catalog, IMAGE_CATALOG | IMAGE_SUPERBLOCK | IMAGE_HEADER,
           image_try_store, IMAGE_SEED_DEEP, IMAGE_SEED_TABLES);
