/*
 * memory_pager.h - a pager over memory, for tests of trees and graphs.
 *
 * It keeps the contract of base/pager.h and no promise beyond it. One pager is
 * one file and one view: begin, edit, mark, commit or roll back. Page 0 is
 * reserved; allocate() takes the number freed last, so that stale page numbers
 * meet other contents.
 *
 * Unkind mode, to catch pointers that live too long: the first edit of a page
 * in an operation moves it, and memory_pager_operation_end() moves every page
 * that was lent since the last one, overwrites and frees the old copies and
 * bumps the view epoch. Under asan a stale pointer is then a report, elsewhere
 * it reads MEMORY_PAGER_POISON.
 *
 * Errors on demand: see memory_pager_fail().
 */
#ifndef TURDB_TEST_MEMORY_PAGER_H
#define TURDB_TEST_MEMORY_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/pager.h"

enum {
	MEMORY_PAGER_USABLE_SIZE = 16368, /* as in the store */
	MEMORY_PAGER_POISON = 0xDB,
};

/* Calls that can be told to fail; a mask. */
enum memory_pager_call {
	MEMORY_PAGER_READ = 1,
	MEMORY_PAGER_EDIT = 2,
	MEMORY_PAGER_ALLOCATE = 4,
	MEMORY_PAGER_FREE = 8,
	MEMORY_PAGER_STATE_READ = 16,
	MEMORY_PAGER_STATE_EDIT = 32,
	MEMORY_PAGER_ANY = 63,
	MEMORY_PAGER_PREFETCH = 64, /* counted only; it cannot fail */
};

struct memory_pager;

/* `usable_size` 0 = MEMORY_PAGER_USABLE_SIZE. The heap is borrowed. */
int memory_pager_open(struct memory_pager **memory, struct heap *heap,
                      uint32_t usable_size, bool unkind, struct err *err);
void memory_pager_close(struct memory_pager *memory); /* NULL is fine */

/* What the code under test gets; lives as long as `memory`. */
struct pager *memory_pager_of(struct memory_pager *memory);

/* Transactions. edit, allocate, free and state_edit outside one are
 * ERR_READONLY. All of these end the operation and move the view. */
void memory_pager_begin(struct memory_pager *memory);
void memory_pager_commit(struct memory_pager *memory);
void memory_pager_rollback(struct memory_pager *memory);

/*
 * Marks, numbered as SQLite numbers savepoints: savepoint(n) opens every mark
 * <= n not yet open, with the present state; release(n) drops the marks >= n;
 * rollback_to(n) restores mark n and drops those above it, or restores the
 * start of the transaction when n < 0 or there is no mark n.
 */
void memory_pager_savepoint(struct memory_pager *memory, int n);
void memory_pager_release(struct memory_pager *memory, int n);
void memory_pager_rollback_to(struct memory_pager *memory, int n);

/* Ends the operation: borrowed pointers die (only unkind pagers enforce it). */
void memory_pager_operation_end(struct memory_pager *memory);

/* The `in`-th call from now that is one of `calls` fails with ERR_IO, and with
 * `sticky` all later ones; 0 switches failing off. */
void memory_pager_fail(struct memory_pager *memory, unsigned calls, uint64_t in,
                       bool sticky);
/* Calls of those kinds so far; tells a test how often to inject. */
uint64_t memory_pager_calls(const struct memory_pager *memory, unsigned calls);

/* Page numbers run from 0 to page_count - 1; freed ones have PAGE_FREE. */
uint32_t memory_pager_page_count(const struct memory_pager *memory);
enum page_kind memory_pager_page_kind(const struct memory_pager *memory,
                                      uint32_t page_no);
uint32_t memory_pager_pages_of_kind(const struct memory_pager *memory,
                                    enum page_kind kind);

/* The page's or state's bytes as they are, to damage or to look at; NULL for
 * no such page. Not transactional. */
uint8_t *memory_pager_bytes(struct memory_pager *memory, uint32_t page_no);
uint8_t *memory_pager_state_bytes(struct memory_pager *memory);

/* Leaks: reset, pass memory_pager_visit with the pager as context to a verify
 * function, then ask. ERR_CORRUPT names the first page that is allocated and
 * was not visited, visited twice, or visited though free. */
void memory_pager_visits_reset(struct memory_pager *memory);
void memory_pager_visit(void *memory, uint32_t page_no);
int memory_pager_visits_check(const struct memory_pager *memory,
                              struct err *err);

/* What this transaction would log: bytes that differ from the committed image
 * (ranges closer than 8 bytes count as one), and how many pages and ranges. */
struct memory_pager_changes {
	uint64_t pages, ranges, bytes;
};
struct memory_pager_changes
memory_pager_changes(const struct memory_pager *memory);

/* A number that stands for all pages, kinds and the state. */
uint64_t memory_pager_fingerprint(const struct memory_pager *memory);

#endif
