/*
 * replay_write.c - the newest versions of pages, made and written.
 *
 * Purpose       The end of a replay: what all records together say becomes bytes.
 * Structures    Pages are taken in the order of their places (replay_order.c), made, and
 *               go out several at a time (replay_batch.c).
 * Performance   One reading, one checksum and one writing a page: 6 us of CPU. Where
 *               the lists of changes did not fit into the budget, the log is followed
 *               again for as many pages as fit.
 * Safety        Keeps (vfs/replay_pages W1) and (vfs/replay_pages W2).
 */
#include "vfs/replay_private.h"

struct writing {
	struct replay *replay;
	struct replay_order order;
	struct replay_batches batches;
};

static uint32_t place_to_write(const struct replay *replay,
                               const struct replay_file *file,
                               const struct replay_page *page)
{
	if (!page->count || file->gone ||
	    (replay->counting && !page->wanted && !page->image))
		return 0;
	return page->ref.place;
}

/* Keeps (vfs/replay_pages W1). */
static int check(const struct replay_batch *batch, const struct replay_page *page,
                 const uint8_t *image, struct err *err)
{
	const struct page_ref *ref = &page->ref;

	if (page_file_checksum(batch->file->file_id, page->page_no, ref->birth,
	                       image, ref->length) == ref->checksum)
		return ERR_NONE;
	return replay_refuse(batch->replay, err,
	                     "the changed page has another checksum",
	                     batch->file->file_id, page->page_no);
}

static int page_write(struct replay_batch *batch, struct replay_ahead *ahead,
                      const struct replay_page *page, struct err *err)
{
	uint8_t *image = page->image ? page->image : replay_batch_image(batch);
	int rc = replay_ahead_build(ahead, page, image, err);

	if (!rc)
		rc = check(batch, page, image, err);
	return rc ? rc : replay_batch_put(batch, &page->ref, image, err);
}

static int stretch_write(void *context, uint32_t stretch, struct err *err)
{
	struct writing *writing = context;
	struct replay_order *order = &writing->order;
	struct replay_batch *batch = &writing->batches.each[stretch];
	size_t i = replay_order_start(order, stretch);
	size_t end = replay_order_start(order, stretch + 1);
	struct replay_ahead ahead;
	int rc = ERR_NONE;

	replay_batch_begin(batch, order->file, (uint32_t)(order->keys[i] >> 32));
	replay_ahead_begin(&ahead, writing->replay, order->file, order->keys + i,
	                   end - i, batch->scratch);
	for (; !rc && i < end; i++)
		rc = page_write(batch, &ahead, replay_order_page(order, i), err);
	return rc ? rc : replay_batch_flush(batch, err);
}

static int order_write(struct writing *writing, struct err *err)
{
	struct replay_order *order = &writing->order;
	struct replay_file *file = order->file;
	uint64_t capacity;
	int rc;

	if (!order->count)
		return ERR_NONE;
	rc = page_file_reserve(file->file,
	                       (order->keys[order->count - 1] >> 32) +
	                               store_units(file->page_size),
	                       &capacity, err);
	if (!rc)
		rc = store_crew_run(writing->replay->store, order->stretches,
		                    stretch_write, writing, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < order->count; i++)
		replay_order_page(order, i)->count = 0;
	atomic_fetch_add(&writing->replay->store->recovered_made, order->count);
	return ERR_NONE;
}

/* All pages whose changes are at hand. */
static int write_ready(struct replay *replay, struct err *err)
{
	struct writing writing = { .replay = replay };
	int rc = replay_batches_open(replay, &writing.batches, err);

	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next) {
		rc = replay_order_make(replay, file, place_to_write,
		                       &writing.order, err);
		if (!rc)
			rc = order_write(&writing, err);
		replay_order_free(replay, &writing.order);
	}
	replay_batches_close(replay, &writing.batches);
	replay_changes_forget(replay);
	return rc;
}

/* As many pages as fit into the budget, one at least. */
static int choose(struct replay *replay, bool *any, struct err *err)
{
	size_t left = replay->budget;
	struct replay_file *file;
	int rc = ERR_NONE;

	*any = false;
	for (file = replay->files; file; file = file->next)
		for (uint32_t i = 0; i < file->count; i++) {
			struct replay_page *page = replay_page_at(file, i);
			size_t cost = replay_page_cost(file, page);

			page->wanted = false;
			if (!page->count || file->gone ||
			    (cost > left && *any))
				continue;
			rc = replay_page_want(replay, file, page, err);
			if (rc)
				return rc;
			*any = true;
			left -= cost < left ? cost : left;
		}
	return rc;
}

int replay_pages_write(struct replay *replay, struct err *err)
{
	bool any = true;
	int rc = ERR_NONE;

	if (!replay->counting)
		return write_ready(replay, err);
	while (any) {
		rc = choose(replay, &any, err);
		if (!rc && any)
			rc = replay_gather(replay, err);
		if (!rc && any)
			rc = write_ready(replay, err);
		if (rc)
			return rc;
	}
	return ERR_NONE;
}
