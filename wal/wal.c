/*
 * wal.c - opens and closes one process's view of a log directory.
 */
#include "wal/wal_private.h"

#include <inttypes.h>

#define SEGMENT_SIZE_DEFAULT (UINT64_C(16) << 20)

static int check_options(const struct wal_options *options, struct err *err)
{
	if (options->segment_size % WAL_SEGMENT_ALIGNMENT ||
	    (options->segment_size &&
	     options->segment_size < WAL_SEGMENT_SIZE_MIN) ||
	    options->segment_size > WAL_SEGMENT_SIZE_MAX)
		return err_set(err, ERR_INVALID, "open the log", "wal",
		               "%" PRIu64 " bytes is no size for a segment",
		               options->segment_size);
	return ERR_NONE;
}

static int make_directory(struct os_file *dir, struct err *err)
{
	const struct os_methods *methods = dir->os->methods;
	struct os_identity identity;
	int rc;

	rc = methods->identify(dir->os, dir, "wal", &identity, err);
	if (rc || identity.kind == OS_NODE_DIRECTORY)
		return rc;
	if (identity.kind != OS_NODE_MISSING)
		return err_set(err, ERR_CANTOPEN, "open the log", "wal",
		               "it is not a directory");
	rc = methods->directory_make(dir->os, dir, "wal", err);
	if (rc)
		return rc == ERR_EXISTS ? ERR_NONE : rc;
	return methods->directory_sync(dir, NULL, err);
}

int wal_open(struct os_file *dir, struct heap *heap, struct wal_shared *shared,
             const struct wal_options *options, struct wal **wal,
             struct err *err)
{
	struct wal *opened;
	int rc;

	rc = check_options(options, err);
	if (!rc)
		rc = make_directory(dir, err);
	if (rc)
		return rc;
	opened = heap_zeroed(heap, sizeof *opened);
	if (!opened)
		return err_set(err, ERR_NOMEM, "open the log", "wal",
		               "out of memory");
	opened->dir = dir;
	opened->heap = heap;
	opened->shared = shared;
	opened->options = *options;
	if (!opened->options.segment_size)
		opened->options.segment_size = SEGMENT_SIZE_DEFAULT;
	wal_claim_forget(opened, &shared->files_claim);
	wal_claim_forget(opened, &shared->sync_claim);
	*wal = opened;
	return ERR_NONE;
}

void wal_close(struct wal *wal)
{
	if (!wal)
		return;
	wal_files_close(wal);
	heap_free(wal->heap, wal);
}
