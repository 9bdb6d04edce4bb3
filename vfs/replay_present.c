/*
 * replay_present.c - pages whose newest version is in its place already.
 *
 * Purpose       A commit writes its images, unsynced; only a power failure takes them
 *               away. When processes died, the newest image of nearly every page lies
 *               where its record says: it needs neither its base nor its changes.
 * Structures    Pages in the order of places, as in replay_write.c: what lies there is
 *               copied, and when the copy has the checksum that the record names for
 *               this file, page and birth, it goes out as if it had been made. The
 *               others are left for that.
 * Performance   A reading, a checksum and a writing, all of one batch in the processor's
 *               cache: 3 us a page, whatever its changes. Where images are missing, few
 *               places are looked at. In a recovery alone: beside living processes a
 *               replay has a record or two.
 * Safety        (F1) A copy is compared, and the copy is written: what the page cache shows
 *               can change between two looks at it, when a sync has failed before.
 *               (F2) Every image found is written again, so that the sync at the end
 *               covers it: what the page cache calls clean need not be on the disk.
 *               (F3) So no byte changes here, and what refuses the log later has still
 *               changed none (vfs/replay R3).
 */
#include "vfs/replay_private.h"

enum {
	MISSED_MAX = 8,  /* in a row; behind them ... */
	LOOK_EACH = 64,  /* ... one of so many places is looked at */
};

struct looking {
	struct replay *replay;
	struct replay_order order;
	struct replay_batches batches;
	uint32_t found[CREW_MAX];
};

static uint32_t place_to_look(const struct replay *replay,
                              const struct replay_file *file,
                              const struct replay_page *page)
{
	(void)replay, (void)file;
	return page->count ? page->ref.place : 0;
}

/* Keeps (F1). */
static bool is_there(const struct replay_batch *batch,
                     const struct replay_page *page, uint8_t *image)
{
	struct page_file *file = batch->file->file;
	const struct page_ref *ref = &page->ref;

	if (!page_file_copy(file, ref, image))
		return false;
	return page_file_checksum(batch->file->file_id, page->page_no, ref->birth,
	                          image, ref->length) == ref->checksum ||
	       PLANTED(batch->replay->store->environment, PLANT_FOUND_UNCHECKED);
}

/* Keeps (F2). */
static int write_again(struct replay_batch *batch, struct replay_page *page,
                       const uint8_t *image, struct err *err)
{
	page->count = 0;
	if (PLANTED(batch->replay->store->environment, PLANT_FOUND_UNWRITTEN))
		return ERR_NONE;
	return replay_batch_put(batch, &page->ref, image, err);
}

static int stretch_look(void *context, uint32_t stretch, struct err *err)
{
	struct looking *looking = context;
	struct replay_order *order = &looking->order;
	struct replay_batch *batch = &looking->batches.each[stretch];
	size_t i = replay_order_start(order, stretch);
	size_t end = replay_order_start(order, stretch + 1);
	uint32_t missed = 0, found = 0;
	int rc = ERR_NONE;

	replay_batch_begin(batch, order->file, (uint32_t)(order->keys[i] >> 32));
	for (; !rc && i < end; i += missed < MISSED_MAX ? 1 : LOOK_EACH) {
		struct replay_page *page = replay_order_page(order, i);
		uint8_t *image = replay_batch_image(batch);

		missed++;
		if (!is_there(batch, page, image))
			continue;
		rc = write_again(batch, page, image, err);
		missed = 0;
		found++;
	}
	looking->found[stretch] += found;
	return rc ? rc : replay_batch_flush(batch, err);
}

static int file_look(struct looking *looking, struct replay_file *file,
                     struct err *err)
{
	struct replay *replay = looking->replay;
	struct replay_order *order = &looking->order;
	int rc;

	if (file->gone || file->unmade || !file->file || !file->count)
		return ERR_NONE;
	rc = replay_order_make(replay, file, place_to_look, order, err);
	if (!rc && order->count)
		rc = store_crew_run(replay->store, order->stretches,
		                    stretch_look, looking, err);
	replay_order_free(replay, order);
	return rc;
}

int replay_present_write(struct replay *replay, struct err *err)
{
	struct looking looking = { .replay = replay };
	int rc = replay_batches_open(replay, &looking.batches, err);

	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next)
		rc = file_look(&looking, file, err);
	for (uint32_t i = 0; i < CREW_MAX; i++)
		atomic_fetch_add(&replay->store->recovered_found,
		                 looking.found[i]);
	replay_batches_close(replay, &looking.batches);
	return rc;
}
