/*
 * replay_write.c - the newest versions of pages, made and written.
 *
 * Purpose       The end of a replay: what all records together say becomes bytes.
 * Structures    Pages are taken in the order of their places, so that reads and
 *               writes run forward through the file; a crew takes as many stretches of
 *               it at once. Images are gathered and go out several at a time; the disk
 *               is told to begin while the next ones are made, which leaves little to
 *               the sync.
 * Performance   One reading, one checksum and one writing a page: 6 us of CPU. Where
 *               the lists of changes did not fit into the budget, the log is followed
 *               again for as many pages as fit.
 * Safety        Keeps (vfs/replay_pages W1) and (vfs/replay_pages W2).
 */
#include "vfs/replay_private.h"

#include <stdlib.h>

enum {
	BATCH_PAGES = 16,
	WRITE_START_PLACES = 256,   /* 1 MB; 4 MB leave 3 to 6 ms more of 64 MB to the sync */
	STRETCH_PAGES_MIN = 64,    /* below that a thread costs more than it brings */
};

/* --- pages in the order of places ---------------------------------------------------- */

/* place << 32 | index of the page */
struct order {
	uint64_t *keys;
	size_t count;
};

static int ascending(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static int order_make(struct replay *replay, const struct replay_file *file,
                      uint32_t (*place_of)(const struct replay *replay,
                                           const struct replay_file *file,
                                           const struct replay_page *page),
                      struct order *order, struct err *err)
{
	order->count = 0;
	order->keys = heap_allocate(replay->store->heap,
	                            (file->count + (size_t)1) *
	                                    sizeof *order->keys);
	if (!order->keys)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "order of %u pages",
		               file->count);
	for (uint32_t i = 0; i < file->count; i++) {
		uint32_t place = place_of(replay, file, replay_page_at(file, i));

		if (place)
			order->keys[order->count++] = (uint64_t)place << 32 | i;
	}
	qsort(order->keys, order->count, sizeof *order->keys, ascending);
	return ERR_NONE;
}

static struct replay_page *order_page(const struct order *order,
                                      const struct replay_file *file, size_t i)
{
	return replay_page_at(file, (uint32_t)order->keys[i]);
}

/* How many stretches the order is worked on in at once. */
static uint32_t stretches_of(const struct replay *replay,
                             const struct order *order)
{
	size_t least = PLANTED(replay->store->environment, PLANT_REPLAY_PARTS)
	                       ? 1 : STRETCH_PAGES_MIN;
	size_t most = order->count / least;

	return most >= replay->crew ? replay->crew : most ? (uint32_t)most : 1;
}

/* Where a stretch begins; where the one before it ends. */
static size_t stretch_start(const struct order *order, uint32_t stretch,
                            uint32_t stretches)
{
	return order->count * stretch / stretches;
}

/* --- bases (vfs/replay R3) ------------------------------------------------------------ */

static uint32_t place_of_base(const struct replay *replay,
                              const struct replay_file *file,
                              const struct replay_page *page)
{
	(void)replay;
	if (!page->count || page->from_zero || file->gone || file->unmade)
		return 0;
	return replay_origin_of(file, page)->base.place;
}

struct verifying {
	struct replay_file *file;
	struct order order;
	uint32_t stretches;
};

static int stretch_verify(void *context, uint32_t stretch, struct err *err)
{
	const struct verifying *verifying = context;
	const struct order *order = &verifying->order;
	struct replay_file *file = verifying->file;
	size_t i = stretch_start(order, stretch, verifying->stretches);
	size_t end = stretch_start(order, stretch + 1, verifying->stretches);
	int rc = ERR_NONE;

	for (; !rc && i < end; i++) {
		const struct replay_page *page = order_page(order, file, i);
		const uint8_t *bytes;

		rc = page_file_borrow(file->file,
		                      &replay_origin_of(file, page)->base,
		                      page->page_no, &bytes, err);
	}
	return rc;
}

static int bases_verify(struct replay *replay, struct replay_file *file,
                        struct err *err)
{
	struct verifying verifying = { .file = file };
	int rc = order_make(replay, file, place_of_base, &verifying.order, err);

	verifying.stretches = stretches_of(replay, &verifying.order);
	if (!rc)
		rc = store_crew_run(replay->store, verifying.stretches,
		                    stretch_verify, &verifying, err);
	heap_free(replay->store->heap, verifying.order.keys);
	return rc;
}

static int claim(struct replay *replay, const struct replay_file *file,
                 struct sparse_bits *places, const struct replay_page *page,
                 const struct page_ref *ref, struct err *err)
{
	bool already;
	int rc = replay_place_add(replay, places, ref->place, &already, err);

	if (!rc && already)
		rc = replay_refuse(replay, err, "two pages at one place",
		                   file->file_id, page->page_no);
	return rc;
}

/* (vfs/replay_pages W2), as far as the log alone can tell: what it made itself is a
 * base in its own place. */
static int places_differ(struct replay *replay, const struct replay_file *file,
                         struct err *err)
{
	struct sparse_bits places;
	int rc = ERR_NONE;

	sparse_bits_init(&places, replay->store->heap);
	for (uint32_t i = 0; !rc && i < file->count; i++) {
		const struct replay_page *page = replay_page_at(file, i);
		const struct page_ref *base = &replay_origin_of(file, page)->base;

		if (page->ref.length && !(page->ref.flags & REF_FLAG_FREE) &&
		    page->ref.birth > replay->base.txid)
			rc = claim(replay, file, &places, page, &page->ref,
			           err);
		if (!rc && page->count && !page->from_zero &&
		    base->birth > replay->base.txid)
			rc = claim(replay, file, &places, page, base, err);
	}
	sparse_bits_free(&places);
	return rc;
}

int replay_bases_verify(struct replay *replay, struct err *err)
{
	struct replay_file *file;
	int rc = ERR_NONE;

	for (file = replay->files; !rc && file; file = file->next) {
		rc = places_differ(replay, file, err);
		if (!rc)
			rc = bases_verify(replay, file, err);
	}
	return rc;
}

/* --- writing --------------------------------------------------------------------------- */

/* One of a crew, who makes the pages of one stretch. */
struct writing {
	struct replay *replay;
	struct replay_file *file;
	const uint64_t *keys; /* the stretch, as in struct order */
	size_t key_count;
	uint8_t *images;      /* room for so many */
	size_t room, used;
	uint8_t *scratch;
	struct page_ref refs[BATCH_PAGES];
	const void *bytes[BATCH_PAGES];
	size_t count;
	struct replay_ahead ahead;
	uint32_t started; /* the disk was told of what lies before this place */
};

struct writers {
	struct writing each[CREW_MAX];
	uint8_t *images; /* of all of them */
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

/* A batch for each of the crew, and a page for bytes that move. */
static int room_for_images(struct replay *replay, struct writers *writers,
                           struct err *err)
{
	size_t room = replay->budget / STORE_PAGE_SIZE / replay->crew, each = 0;

	room = room < 1 ? 1 : room > BATCH_PAGES ? BATCH_PAGES : room;
	for (; room; room /= 2) {
		each = (room + 1) * STORE_PAGE_SIZE;
		writers->images = heap_allocate(replay->store->heap,
		                                replay->crew * each);
		if (writers->images)
			break;
	}
	if (!writers->images)
		return err_set(err, ERR_NOMEM, "replay log of",
		               replay->store->path, "room for a page");
	for (uint32_t i = 0; i < replay->crew; i++)
		writers->each[i] = (struct writing){
			.replay = replay,
			.images = writers->images + i * each,
			.scratch = writers->images + i * each +
			           room * STORE_PAGE_SIZE,
			.room = room,
		};
	return ERR_NONE;
}

static void write_start(struct writing *writing, uint32_t to)
{
	if (writing->replay->alone && to > writing->started)
		page_file_write_start(writing->file->file, writing->started,
		                      to - writing->started);
	writing->started = to;
}

static int flush(struct writing *writing, struct err *err)
{
	size_t count = writing->count;
	uint32_t end;
	int rc;

	if (!count)
		return ERR_NONE;
	rc = page_file_write_many(writing->file->file, writing->refs,
	                          writing->bytes, count, err);
	if (rc)
		return rc;
	end = writing->refs[count - 1].place +
	      store_units(writing->refs[count - 1].length);
	if (end - writing->started >= WRITE_START_PLACES)
		write_start(writing, end);
	writing->count = writing->used = 0;
	return ERR_NONE;
}

/* Keeps (vfs/replay_pages W1). */
static int check(struct writing *writing, const struct replay_page *page,
                 const uint8_t *image, struct err *err)
{
	const struct page_ref *ref = &page->ref;

	if (page_file_checksum(writing->file->file_id, page->page_no, ref->birth,
	                       image, ref->length) == ref->checksum)
		return ERR_NONE;
	return replay_refuse(writing->replay, err,
	                     "the changed page has another checksum",
	                     writing->file->file_id, page->page_no);
}

static int page_write(struct writing *writing, const struct replay_page *page,
                      struct err *err)
{
	uint8_t *image = page->image;
	int rc;

	if (!image)
		image = writing->images + writing->used++ * STORE_PAGE_SIZE;
	rc = replay_ahead_build(&writing->ahead, page, image, err);
	if (!rc)
		rc = check(writing, page, image, err);
	if (rc)
		return rc;
	writing->refs[writing->count] = page->ref;
	writing->bytes[writing->count++] = image;
	if (writing->count < BATCH_PAGES && writing->used < writing->room)
		return ERR_NONE;
	return flush(writing, err);
}

static int stretch_write(void *context, uint32_t stretch, struct err *err)
{
	struct writers *writers = context;
	struct writing *writing = &writers->each[stretch];
	int rc = ERR_NONE;

	writing->started = (uint32_t)(writing->keys[0] >> 32);
	replay_ahead_begin(&writing->ahead, writing->replay, writing->file,
	                   writing->keys, writing->key_count, writing->scratch);
	for (size_t i = 0; !rc && i < writing->key_count; i++)
		rc = page_write(writing,
		                replay_page_at(writing->file,
		                               (uint32_t)writing->keys[i]),
		                err);
	return rc ? rc : flush(writing, err);
}

static int order_write(struct replay *replay, struct replay_file *file,
                       struct writers *writers, const struct order *order,
                       struct err *err)
{
	uint32_t stretches = stretches_of(replay, order);
	uint64_t capacity;
	int rc;

	if (!order->count)
		return ERR_NONE;
	for (uint32_t i = 0; i < stretches; i++) {
		size_t from = stretch_start(order, i, stretches);

		writers->each[i].file = file;
		writers->each[i].keys = order->keys + from;
		writers->each[i].key_count =
			stretch_start(order, i + 1, stretches) - from;
	}
	rc = page_file_reserve(file->file,
	                       (order->keys[order->count - 1] >> 32) +
	                               store_units(file->page_size),
	                       &capacity, err);
	if (!rc)
		rc = store_crew_run(replay->store, stretches, stretch_write,
		                    writers, err);
	for (size_t i = 0; !rc && i < order->count; i++)
		order_page(order, file, i)->count = 0;
	return rc;
}

/* All pages whose changes are at hand. */
static int write_ready(struct replay *replay, struct err *err)
{
	struct writers writers;
	int rc = room_for_images(replay, &writers, err);

	for (struct replay_file *file = replay->files; !rc && file;
	     file = file->next) {
		struct order order;

		rc = order_make(replay, file, place_to_write, &order, err);
		if (!rc)
			rc = order_write(replay, file, &writers, &order, err);
		heap_free(replay->store->heap, order.keys);
	}
	heap_free(replay->store->heap, writers.images);
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
