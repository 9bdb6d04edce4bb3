/*
 * log_fuzz.c - databases whose processes were killed, with damaged logs: chains,
 * positions and checksums mended, so that the store replays what the records say.
 */
#include "test/fuzz/image_fuzz.h"

extern const struct fuzz_target log_fuzz;
IMAGE_FUZZ(log, IMAGE_RECORD | IMAGE_SEGMENT, image_try_store, IMAGE_SEED_LOG,
           IMAGE_SEED_KILLED);
