/*
 * real_store.c - a store on the real disk with one view, for tests of processes.
 */
#include "test/support/real_store.h"

#include <string.h>

int real_store_open(struct opened *opened, const char *path,
                    const struct store_options *options, struct err *err)
{
	int rc;

	memset(opened, 0, sizeof *opened);
	heap_init(&opened->heap);
	rc = os_posix_open(&opened->heap, &opened->os, err);
	if (!rc)
		rc = store_environment_open(opened->os, &opened->heap,
		                            &opened->environment, err);
	if (!rc)
		rc = store_open(opened->environment, path, options,
		                &opened->store, err);
	return rc ? rc : store_view_open(opened->store, &opened->view, err);
}

int real_store_close(struct opened *opened, struct err *err)
{
	int rc;

	store_view_close(opened->view);
	rc = store_close(opened->store, err);
	store_environment_close(opened->environment);
	os_posix_close(opened->os);
	return rc;
}
