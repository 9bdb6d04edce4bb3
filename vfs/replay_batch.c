/*
 * replay_batch.c - images go out several at a time.
 *
 * The disk is told to begin while the next ones are made, which leaves little to the
 * sync.
 */
#include "vfs/replay_private.h"

enum { WRITE_START_PLACES = 256 }; /* 1 MB; 4 MB leave 3 to 6 ms more of 64 MB to the sync */

int replay_batches_open(struct replay *replay, struct replay_batches *batches,
                        struct err *err)
{
	size_t room = replay->budget / STORE_PAGE_SIZE / replay->crew, each = 0;

	room = room < 1 ? 1 : room > BATCH_PAGES ? BATCH_PAGES : room;
	for (; room; room /= 2) {
		each = (room + 1) * STORE_PAGE_SIZE;
		batches->images = heap_allocate(replay->store->heap,
		                                replay->crew * each);
		if (batches->images)
			break;
	}
	if (!batches->images)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "room for a page");
	for (uint32_t i = 0; i < replay->crew; i++)
		batches->each[i] = (struct replay_batch){
			.replay = replay,
			.images = batches->images + i * each,
			.scratch = batches->images + i * each +
			           room * STORE_PAGE_SIZE,
			.room = room,
		};
	return ERR_NONE;
}

void replay_batches_close(struct replay *replay, struct replay_batches *batches)
{
	heap_free(replay->store->heap, batches->images);
}

void replay_batch_begin(struct replay_batch *batch, struct replay_file *file,
                        uint32_t place)
{
	batch->file = file;
	batch->started = place;
}

uint8_t *replay_batch_image(const struct replay_batch *batch)
{
	return batch->images + batch->used * STORE_PAGE_SIZE;
}

int replay_batch_put(struct replay_batch *batch, const struct page_ref *ref,
                     const uint8_t *image, struct err *err)
{
	batch->used += image == replay_batch_image(batch);
	batch->refs[batch->count] = *ref;
	batch->bytes[batch->count++] = image;
	if (batch->count < BATCH_PAGES && batch->used < batch->room)
		return ERR_NONE;
	return replay_batch_flush(batch, err);
}

static void write_start(struct replay_batch *batch, uint32_t to)
{
	if (batch->replay->alone && to > batch->started)
		page_file_write_start(batch->file->file, batch->started,
		                      to - batch->started);
	batch->started = to;
}

int replay_batch_flush(struct replay_batch *batch, struct err *err)
{
	size_t count = batch->count;
	uint32_t end;
	int rc;

	if (!count)
		return ERR_NONE;
	rc = page_file_write_many(batch->file->file, batch->refs, batch->bytes,
	                          count, err);
	if (rc)
		return rc;
	end = batch->refs[count - 1].place +
	      store_units(batch->refs[count - 1].length);
	if (end - batch->started >= WRITE_START_PLACES)
		write_start(batch, end);
	batch->count = batch->used = 0;
	return ERR_NONE;
}
