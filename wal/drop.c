/*
 * drop.c - forgets segments that a checkpoint has made superfluous.
 *
 * Order. `durable` is raised first, so that no sync looks for the files any
 * more; then first_lsn, from where on they may be reused; then the superfluous
 * ones are unlinked. An unlink that a power loss undoes is harmless: what comes
 * back lies before the checkpoint. The directory is not synced for it.
 */
#include "wal/wal_private.h"

#include <inttypes.h>

enum { SPARES_MAX = 2 };

static uint64_t oldest_kept(const struct wal_list *list, uint64_t lsn)
{
	for (size_t i = 0; i < list->valid_count; i++)
		if (list->items[i].end > lsn)
			return list->items[i].first;
	return lsn;
}

/* The newest are the largest, as segments grow. */
static int unlink_superfluous(struct wal *wal, const struct wal_list *list,
                              uint64_t first_lsn, struct err *err)
{
	size_t spares = 0;
	int rc = ERR_NONE;

	for (size_t i = list->valid_count; i-- > 0 && !rc;) {
		const struct wal_segment *item = &list->items[i];

		if (item->end > first_lsn)
			continue;
		if (spares < SPARES_MAX &&
		    item->size <= wal->options.segment_size)
			spares++;
		else
			rc = wal_segment_unlink(wal, item->no, err);
	}
	return rc;
}

int wal_drop_before(struct wal *wal, uint64_t lsn, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	struct wal_list list;
	uint64_t token, first_lsn;
	int rc;

	if (lsn > atomic_load(&shared->appended))
		return err_set(err, ERR_INVALID, "drop log segments", "wal",
		               "position %" PRIu64 " is beyond the log's end",
		               lsn);
	if (atomic_load(&shared->failed))
		return err_set(err, ERR_POISONED, "drop log segments", "wal",
		               "a sync failed earlier");
	wal_durable_raise(shared, lsn);
	token = wal_files_take(wal);
	rc = wal_list_read(wal, &list, err);
	if (!rc) {
		first_lsn = oldest_kept(&list, lsn);
		if (first_lsn > atomic_load(&shared->first_lsn))
			atomic_store(&shared->first_lsn, first_lsn);
		rc = unlink_superfluous(wal, &list,
		                        atomic_load(&shared->first_lsn), err);
		wal_list_close(wal, &list);
	}
	wal_files_release(wal, token);
	return rc;
}

uint64_t wal_bytes(const struct wal *wal)
{
	uint64_t first = atomic_load(&wal->shared->first_lsn);
	uint64_t appended = atomic_load(&wal->shared->appended);

	return appended > first ? appended - first : 0;
}
