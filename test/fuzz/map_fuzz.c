/*
 * map_fuzz.c - databases with damaged page tables: map pages and the references that
 * lead to them.
 */
#include "test/fuzz/image_fuzz.h"

extern const struct fuzz_target map_fuzz;
IMAGE_FUZZ(map, IMAGE_MAP, image_try_store, IMAGE_SEED_DEEP, IMAGE_SEED_LOG);
