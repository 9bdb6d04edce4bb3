/*
 * image_try.h - opens a damaged database and does all that can be done with it.
 *
 * Whatever the bytes: every call works or says in a sentence what is wrong with
 * which file, all calls end, nothing stays open, memory has bounds; an opening that
 * is refused has written nothing; and what the check calls good stays good through
 * writing, closing and opening again. Anything else ends the process.
 */
#ifndef TURDB_TEST_SUPPORT_IMAGE_TRY_H
#define TURDB_TEST_SUPPORT_IMAGE_TRY_H

#include "test/support/image.h"

/* Through store.h. */
void image_try_store(const struct image *image);
/* Through SQL. */
void image_try_sql(const struct image *image);

#endif
