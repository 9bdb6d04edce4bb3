/*
 * strip.h - arrays of records over the pages of a pager.
 *
 * The format is in hnsw_format.h. A strip remembers where the pages it has met
 * are, so that reaching a record costs a multiplication and one load; that
 * memory is good until strip_forget(), which the graph calls when the pager's
 * counters show that somebody else changed something.
 *
 * (S1) A remembered pointer shows the page as this transaction has it: edits go
 * through strip_edit(), strip_store() and strip_extend(), which remember the
 * edited copy.
 */
#ifndef TURDB_HNSW_STRIP_H
#define TURDB_HNSW_STRIP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pager.h"

enum { STRIP_TOUCHED_MAX = 1024 };

struct strip {
	struct pager *pager;
	enum page_kind kind;
	uint32_t record_size;
	uint32_t per_page; /* 0 = flowing */
	uint64_t reciprocal;
	uint32_t shift;
	uint32_t fan_out;

	uint32_t root, page_count; /* as the state has them */

	const uint8_t **pages; /* by index in the strip; NULL = not met yet */
	size_t page_room;
	const uint8_t **directories; /* the lowest directory level */
	size_t directory_room;
	uint32_t touched[STRIP_TOUCHED_MAX]; /* indices of non-NULL pages */
	uint32_t touched_count;              /* beyond the array: all     */
};

/* Whether whole records of this size fill pages without much waste. */
bool strip_packs_well(uint32_t usable_size, uint32_t record_size);

/* Packed strips leave the first `reserved` bytes of each page alone. */
void strip_init(struct strip *strip, struct pager *pager, enum page_kind kind,
                uint32_t record_size, bool packed, uint32_t reserved);
void strip_close(struct strip *strip);

/* Forgets all pointers. */
void strip_forget(struct strip *strip);

/* Says what the state says: root page and number of records. ERR_CORRUPT when
 * the one does not go with the other, ERR_NOMEM. */
int strip_place(struct strip *strip, uint32_t root, uint32_t records,
                struct err *err);

/* Makes pages for records [0, records) exist; new ones are zero. strip->root
 * may have changed afterwards. */
int strip_extend(struct strip *strip, uint32_t records, struct err *err);

/* Frees all pages; the strip is empty then. */
int strip_clear(struct strip *strip, struct err *err);

/* Resolves a page of the strip; slow path of strip_read(). */
int strip_page_find(struct strip *strip, uint32_t index, const uint8_t **page,
                    struct err *err);

static inline uint32_t strip_page_of(const struct strip *strip, uint32_t record)
{
	return (uint32_t)(record * strip->reciprocal >> strip->shift);
}

/* The page of a packed strip that has a record, and which of its records that
 * is. The caller has checked that it exists. */
static inline int strip_page_read(struct strip *strip, uint32_t record,
                                  const uint8_t **page, uint32_t *slot,
                                  struct err *err)
{
	uint32_t index = strip_page_of(strip, record);
	const uint8_t *met = NULL;
	int rc;

	if (__builtin_expect(index < strip->page_count, 1))
		met = strip->pages[index];
	if (__builtin_expect(!met, 0)) {
		rc = strip_page_find(strip, index, &met, err);
		if (rc)
			return rc;
	}
	*page = met;
	*slot = record - index * strip->per_page;
	return ERR_NONE;
}

/* The same, to be changed. */
int strip_page_edit(struct strip *strip, uint32_t record, uint8_t **page,
                    uint32_t *slot, struct err *err);

/* One record of a packed strip whose records lie one after the other. */
static inline int strip_read(struct strip *strip, uint32_t record,
                             const uint8_t **bytes, struct err *err)
{
	const uint8_t *page;
	uint32_t slot;
	int rc;

	rc = strip_page_read(strip, record, &page, &slot, err);
	if (rc)
		return rc;
	*bytes = page + (size_t)slot * strip->record_size;
	return ERR_NONE;
}

int strip_edit(struct strip *strip, uint32_t record, uint8_t **bytes,
               struct err *err);

/* One record of any strip: lent by the page, or copied to `scratch` (of
 * record_size bytes) when it crosses pages. */
int strip_load(struct strip *strip, uint32_t record, uint8_t *scratch,
               const uint8_t **bytes, struct err *err);
int strip_store(struct strip *strip, uint32_t record, const uint8_t *bytes,
                struct err *err);

/* Calls `visit` for every page, directories too. */
int strip_visit(struct strip *strip,
                void (*visit)(void *context, uint32_t page_no), void *context,
                struct err *err);

#endif
