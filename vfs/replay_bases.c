/*
 * replay_bases.c - that pages can be made: each has a place of its own, and the bases of
 * their changes are what they should be.
 *
 * Purpose       Damage is met before a byte changes.
 * Safety        Keeps (vfs/replay R3) and (vfs/replay_pages W2).
 */
#include "vfs/replay_private.h"

/* --- places ------------------------------------------------------------------------------ */

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

int replay_places_check(struct replay *replay, struct err *err)
{
	struct replay_file *file;
	int rc = ERR_NONE;

	for (file = replay->files; !rc && file; file = file->next)
		rc = places_differ(replay, file, err);
	return rc;
}

/* --- bases ------------------------------------------------------------------------------- */

static uint32_t place_of_base(const struct replay *replay,
                              const struct replay_file *file,
                              const struct replay_page *page)
{
	(void)replay;
	if (!page->count || page->from_zero || file->gone || file->unmade)
		return 0;
	return replay_origin_of(file, page)->base.place;
}

static int stretch_verify(void *context, uint32_t stretch, struct err *err)
{
	const struct replay_order *order = context;
	size_t i = replay_order_start(order, stretch);
	size_t end = replay_order_start(order, stretch + 1);
	struct replay_file *file = order->file;
	int rc = ERR_NONE;

	for (; !rc && i < end; i++) {
		const struct replay_page *page = replay_order_page(order, i);
		const uint8_t *bytes;

		rc = page_file_borrow(file->file,
		                      &replay_origin_of(file, page)->base,
		                      page->page_no, &bytes, err);
	}
	return rc;
}

int replay_bases_verify(struct replay *replay, struct err *err)
{
	struct replay_file *file;
	int rc = ERR_NONE;

	for (file = replay->files; !rc && file; file = file->next) {
		struct replay_order order;

		rc = replay_order_make(replay, file, place_of_base, &order, err);
		if (!rc)
			rc = store_crew_run(replay->store, order.stretches,
			                    stretch_verify, &order, err);
		replay_order_free(replay, &order);
	}
	return rc;
}
