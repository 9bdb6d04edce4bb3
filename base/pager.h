/*
 * pager.h - pages of one file as a tree or a graph sees them.
 *
 * B+trees and vector graphs are written once, against this interface. The
 * store implements it over mapped files, the inline home over shadow tables,
 * tests over memory. A pager is one file under one connection's view: its
 * snapshot, or its open write transaction with its own edits on top.
 *
 * Borrowed pointers. read() lends the page as the view has it now; edit() and
 * allocate() lend a private copy that becomes part of the transaction. All of
 * them stay valid and unmoved until the owner of the view ends the operation
 * (one row inserted, one search step, one cursor move): whoever keeps a
 * position longer remembers keys or page numbers, not pointers. After edit()
 * of a page, an older read() pointer to it still shows the old bytes.
 *
 * Page 0 belongs to the pager (file header). `page` pointers address
 * `usable_size` bytes and are 16-byte aligned; a new page is all zero.
 *
 * State. Each file has PAGER_STATE_SIZE bytes of its own that live in the
 * catalog: root page, counts, entry point. They follow the transaction and its
 * savepoints like a page does, and cost no page of their own. Zero at first.
 *
 * Change counters. `*view_epoch` grows whenever the view moves (begin, commit,
 * rollback, savepoint restored): then nothing read before may be trusted.
 * `edits` grows with every edit, allocation and free through this pager. While
 * both stand still a cursor may go on using a read() pointer over operations;
 * so a pager that takes lent pages back between operations (spill, eviction)
 * bumps the epoch when it does.
 */
#ifndef TURDB_BASE_PAGER_H
#define TURDB_BASE_PAGER_H

#include <stdint.h>

#include "base/err.h"
#include "base/heap.h"

struct pager;

enum { PAGER_STATE_SIZE = 96 };

/* What a page holds, for reports and checks; stored in the page header. */
enum page_kind {
	PAGE_FREE = 0,
	PAGE_FILE_HEADER = 1,
	PAGE_LEAF = 2,
	PAGE_INTERIOR = 3,
	PAGE_OVERFLOW = 4,
	PAGE_GRAPH_NODES = 5,
	PAGE_GRAPH_LINKS = 6,
	PAGE_GRAPH_VECTORS = 7,
	PAGE_GRAPH_META = 8,
};

struct pager_methods {
	int (*read)(struct pager *pager, uint32_t page_no,
	            const uint8_t **page, struct err *err);
	int (*edit)(struct pager *pager, uint32_t page_no, uint8_t **page,
	            struct err *err);
	int (*allocate)(struct pager *pager, enum page_kind kind,
	                uint32_t *page_no, uint8_t **page, struct err *err);
	int (*free)(struct pager *pager, uint32_t page_no, struct err *err);
	int (*state_read)(struct pager *pager, const uint8_t **state,
	                  struct err *err);
	int (*state_edit)(struct pager *pager, uint8_t **state,
	                  struct err *err);
	/* A hint, never an error: the page will be read soon. */
	void (*prefetch)(struct pager *pager, uint32_t page_no);
	/* A hint that a read() pointer is no longer used; a pager with a cache
	 * unpins it early, the store does nothing. */
	void (*release)(struct pager *pager, uint32_t page_no,
	                const uint8_t *page);
};

struct pager {
	const struct pager_methods *methods;
	const uint64_t *view_epoch; /* owned by the view                       */
	uint64_t edits;
	uint32_t usable_size;       /* bytes of a page that the client may use */
	const char *name;           /* for errors: "root/2-users.tbd"          */
	struct heap *heap;          /* where clients of this pager allocate    */
};

static inline int pager_read(struct pager *pager, uint32_t page_no,
                             const uint8_t **page, struct err *err)
{
	return pager->methods->read(pager, page_no, page, err);
}

static inline int pager_edit(struct pager *pager, uint32_t page_no,
                             uint8_t **page, struct err *err)
{
	pager->edits++;
	return pager->methods->edit(pager, page_no, page, err);
}

/* The new page is zero; its number stays taken unless the transaction or a
 * savepoint is rolled back. */
static inline int pager_allocate(struct pager *pager, enum page_kind kind,
                                 uint32_t *page_no, uint8_t **page,
                                 struct err *err)
{
	pager->edits++;
	return pager->methods->allocate(pager, kind, page_no, page, err);
}

static inline int pager_free(struct pager *pager, uint32_t page_no,
                             struct err *err)
{
	pager->edits++;
	return pager->methods->free(pager, page_no, err);
}

static inline int pager_state_read(struct pager *pager, const uint8_t **state,
                                   struct err *err)
{
	return pager->methods->state_read(pager, state, err);
}

static inline int pager_state_edit(struct pager *pager, uint8_t **state,
                                   struct err *err)
{
	pager->edits++;
	return pager->methods->state_edit(pager, state, err);
}

static inline void pager_prefetch(struct pager *pager, uint32_t page_no)
{
	pager->methods->prefetch(pager, page_no);
}

static inline void pager_release(struct pager *pager, uint32_t page_no,
                                 const uint8_t *page)
{
	pager->methods->release(pager, page_no, page);
}

#endif
