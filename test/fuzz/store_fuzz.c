/*
 * store_fuzz.c - whole databases, damaged anywhere, through the store.
 */
#include "test/fuzz/image_fuzz.h"

extern const struct fuzz_target store_fuzz;
IMAGE_FUZZ(store, IMAGE_ALL, image_try_store, IMAGE_SEED_TABLES,
           IMAGE_SEED_KILLED, IMAGE_SEED_LOG, IMAGE_SEED_DEEP);
