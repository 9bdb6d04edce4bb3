/*
 * database_fuzz.c - whole databases, damaged anywhere, through SQL.
 */
#include "test/fuzz/image_fuzz.h"

extern const struct fuzz_target database_fuzz;
IMAGE_FUZZ(database, IMAGE_ALL, image_try_sql, IMAGE_SEED_TABLES,
           IMAGE_SEED_KILLED, IMAGE_SEED_CODES);
