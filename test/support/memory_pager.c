/*
 * memory_pager.c - pages in an array, with one undo log for all marks.
 *
 * Every page and the state carry the serial number of the mark under which
 * they were last copied. Before a page is changed under a newer mark, its old
 * copy goes to the undo log. Opening a mark notes the log's length; rolling
 * back plays the log backwards to there; releasing a mark only forgets the
 * note, so the images it saved serve the marks below it.
 *
 * (M1) A page whose serial is not below the newest mark's has its image as of
 *      that mark in the log. (M2) Retired copies die at the operation's end.
 */
#include "test/support/memory_pager.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"

enum { STATE_ENTRY = -1, IMAGE_HEAD = 16 };

struct slot {
	uint8_t *bytes; /* NULL while the page is free */
	uint64_t serial;
	uint64_t operation; /* last one that edited it (unkind: moved it) */
	enum page_kind kind;
	uint32_t visits;
	bool lent;
};

struct undo {
	int64_t page_no; /* or STATE_ENTRY */
	uint8_t *bytes;  /* the old image; NULL = the page was free */
	uint64_t serial;
	enum page_kind kind;
};

struct mark {
	size_t undo_count;
	uint64_t serial;
};

struct memory_pager {
	struct pager pager;
	struct heap *heap;
	uint64_t epoch;
	bool unkind, in_transaction;

	struct slot *slots;
	uint32_t slot_count, slot_room;
	uint32_t *free_numbers; /* the last one is taken next */
	uint32_t free_count, free_room;

	uint8_t *state;
	uint64_t state_serial;

	struct undo *undo;
	size_t undo_count, undo_room;
	struct mark *marks; /* marks[0] is the transaction's start; mark n is n+1 */
	size_t mark_count, mark_room;
	uint64_t next_serial;

	uint8_t **retired;
	size_t retired_count, retired_room;
	uint32_t *lent;
	size_t lent_count, lent_room;
	uint64_t operation;

	uint64_t calls[7];
	unsigned fail_calls;
	uint64_t fail_in;
	bool fail_sticky, failing;
	char name[32];
};

static struct memory_pager *memory_of(struct pager *pager)
{
	return (struct memory_pager *)(void *)pager;
}

/* Test memory that is not there ends the test: only calls under test fail. */
static void *must(void *block)
{
	if (!block) {
		fprintf(stderr, "memory_pager: out of memory\n");
		abort();
	}
	return block;
}

#define GROW(array, count, room)                                              \
	do {                                                                  \
		if ((count) == (room)) {                                      \
			(room) = (room) ? (room) * 2 : 16;                    \
			(array) = must(realloc((array),                       \
			                       (room) * sizeof *(array)));    \
		}                                                             \
	} while (0)

/* Pages come from malloc, not from the heap under test: its limit and its
 * failures are meant for the code that uses the pager. */
/* An image begins 16 bytes into a cache line, as behind the store's page head. */
static uint8_t *image_new(const struct memory_pager *memory)
{
	size_t size = (IMAGE_HEAD + memory->pager.usable_size + 63u) &
	              ~(size_t)63;

	return (uint8_t *)must(aligned_alloc(64, size)) + IMAGE_HEAD;
}

static void image_free(const struct memory_pager *memory, uint8_t *bytes)
{
	if (bytes && memory->unkind)
		memset(bytes, MEMORY_PAGER_POISON, memory->pager.usable_size);
	if (bytes)
		free(bytes - IMAGE_HEAD);
}

static void retire(struct memory_pager *memory, uint8_t *bytes)
{
	if (!bytes)
		return;
	GROW(memory->retired, memory->retired_count, memory->retired_room);
	memory->retired[memory->retired_count++] = bytes;
}

static bool must_fail(struct memory_pager *memory, enum memory_pager_call call)
{
	memory->calls[__builtin_ctz(call)]++;
	if (!(memory->fail_calls & call))
		return false;
	if (memory->failing)
		return true;
	if (!memory->fail_in || --memory->fail_in)
		return false;
	memory->failing = memory->fail_sticky;
	return true;
}

static int fail(struct memory_pager *memory, const char *operation,
                struct err *err)
{
	return err_set(err, ERR_IO, operation, memory->name,
	               "a test asked for this failure");
}

static int check_page_no(struct memory_pager *memory, const char *operation,
                         uint32_t page_no, struct err *err)
{
	if (page_no == 0 || page_no >= memory->slot_count ||
	    memory->slots[page_no].kind == PAGE_FREE)
		return err_set(err, ERR_CORRUPT, operation, memory->name,
		               "page %u does not exist", page_no);
	return ERR_NONE;
}

static int check_writable(struct memory_pager *memory, const char *operation,
                          struct err *err)
{
	if (memory->in_transaction)
		return ERR_NONE;
	return err_set(err, ERR_READONLY, operation, memory->name,
	               "no transaction is open");
}

static void lend(struct memory_pager *memory, uint32_t page_no)
{
	if (!memory->unkind || memory->slots[page_no].lent)
		return;
	memory->slots[page_no].lent = true;
	GROW(memory->lent, memory->lent_count, memory->lent_room);
	memory->lent[memory->lent_count++] = page_no;
}

static uint64_t newest_serial(const struct memory_pager *memory)
{
	return memory->marks[memory->mark_count - 1].serial;
}

static void undo_push(struct memory_pager *memory, struct undo entry)
{
	GROW(memory->undo, memory->undo_count, memory->undo_room);
	memory->undo[memory->undo_count++] = entry;
}

static uint8_t *image_copy(const struct memory_pager *memory,
                           const uint8_t *bytes)
{
	uint8_t *copy = image_new(memory);

	memcpy(copy, bytes, memory->pager.usable_size);
	return copy;
}

/* Afterwards the slot's old image is safe in the log; true when the image now
 * belongs to the log (unkind: dies) and the slot needs another. */
static bool slot_save(struct memory_pager *memory, uint32_t page_no)
{
	struct slot *slot = &memory->slots[page_no];
	uint8_t *saved = slot->bytes;

	if (slot->serial >= newest_serial(memory))
		return false;
	if (saved && memory->unkind) {
		retire(memory, saved);
		saved = image_copy(memory, saved);
	}
	undo_push(memory, (struct undo){ .page_no = page_no,
	                                 .bytes = saved,
	                                 .serial = slot->serial,
	                                 .kind = slot->kind });
	slot->serial = newest_serial(memory);
	return true;
}

static int page_read(struct pager *pager, uint32_t page_no,
                     const uint8_t **page, struct err *err)
{
	struct memory_pager *memory = memory_of(pager);

	if (must_fail(memory, MEMORY_PAGER_READ))
		return fail(memory, "read page", err);
	if (check_page_no(memory, "read page", page_no, err))
		return ERR_CORRUPT;
	lend(memory, page_no);
	*page = memory->slots[page_no].bytes;
	return ERR_NONE;
}

static int page_edit(struct pager *pager, uint32_t page_no, uint8_t **page,
                     struct err *err)
{
	struct memory_pager *memory = memory_of(pager);
	struct slot *slot;
	uint8_t *old;
	bool saved;

	if (must_fail(memory, MEMORY_PAGER_EDIT))
		return fail(memory, "edit page", err);
	if (check_writable(memory, "edit page", err))
		return ERR_READONLY;
	if (check_page_no(memory, "edit page", page_no, err))
		return ERR_CORRUPT;
	slot = &memory->slots[page_no];
	old = slot->bytes;
	saved = slot_save(memory, page_no);
	if (saved || (memory->unkind && slot->operation != memory->operation)) {
		slot->bytes = image_copy(memory, old);
		if (!saved)
			retire(memory, old);
	}
	slot->operation = memory->operation;
	lend(memory, page_no);
	*page = slot->bytes;
	return ERR_NONE;
}

static uint32_t number_take(struct memory_pager *memory)
{
	if (memory->free_count)
		return memory->free_numbers[--memory->free_count];
	GROW(memory->slots, memory->slot_count, memory->slot_room);
	memory->slots[memory->slot_count] = (struct slot){ .kind = PAGE_FREE };
	return memory->slot_count++;
}

static int page_allocate(struct pager *pager, enum page_kind kind,
                         uint32_t *page_no, uint8_t **page, struct err *err)
{
	struct memory_pager *memory = memory_of(pager);
	struct slot *slot;
	uint32_t number;

	if (must_fail(memory, MEMORY_PAGER_ALLOCATE))
		return fail(memory, "allocate page", err);
	if (check_writable(memory, "allocate page", err))
		return ERR_READONLY;
	number = number_take(memory);
	slot = &memory->slots[number];
	assert(slot->kind == PAGE_FREE && !slot->bytes);
	slot_save(memory, number);
	slot->bytes = image_new(memory);
	memset(slot->bytes, 0, pager->usable_size);
	slot->kind = kind;
	slot->operation = memory->operation;
	lend(memory, number);
	*page_no = number;
	*page = slot->bytes;
	return ERR_NONE;
}

static void number_give(struct memory_pager *memory, uint32_t page_no)
{
	GROW(memory->free_numbers, memory->free_count, memory->free_room);
	memory->free_numbers[memory->free_count++] = page_no;
}

static int page_free(struct pager *pager, uint32_t page_no, struct err *err)
{
	struct memory_pager *memory = memory_of(pager);
	struct slot *slot;

	if (must_fail(memory, MEMORY_PAGER_FREE))
		return fail(memory, "free page", err);
	if (check_writable(memory, "free page", err))
		return ERR_READONLY;
	if (check_page_no(memory, "free page", page_no, err))
		return ERR_CORRUPT;
	slot = &memory->slots[page_no];
	if (!slot_save(memory, page_no))
		retire(memory, slot->bytes);
	slot->bytes = NULL;
	slot->kind = PAGE_FREE;
	number_give(memory, page_no);
	return ERR_NONE;
}

static int state_read(struct pager *pager, const uint8_t **state,
                      struct err *err)
{
	struct memory_pager *memory = memory_of(pager);

	if (must_fail(memory, MEMORY_PAGER_STATE_READ))
		return fail(memory, "read state", err);
	*state = memory->state;
	return ERR_NONE;
}

static uint8_t *state_copy(const uint8_t *state)
{
	uint8_t *copy = must(malloc(PAGER_STATE_SIZE));

	memcpy(copy, state, PAGER_STATE_SIZE);
	return copy;
}

static int state_edit(struct pager *pager, uint8_t **state, struct err *err)
{
	struct memory_pager *memory = memory_of(pager);

	if (must_fail(memory, MEMORY_PAGER_STATE_EDIT))
		return fail(memory, "edit state", err);
	if (check_writable(memory, "edit state", err))
		return ERR_READONLY;
	if (memory->state_serial < newest_serial(memory)) {
		undo_push(memory, (struct undo){
			.page_no = STATE_ENTRY,
			.bytes = memory->state,
			.serial = memory->state_serial });
		memory->state = state_copy(memory->state);
		memory->state_serial = newest_serial(memory);
	}
	*state = memory->state;
	return ERR_NONE;
}

static void page_prefetch(struct pager *pager, uint32_t page_no)
{
	struct memory_pager *memory = memory_of(pager);

	memory->calls[__builtin_ctz(MEMORY_PAGER_PREFETCH)]++;
	if (page_no < memory->slot_count)
		__builtin_prefetch(memory->slots[page_no].bytes);
}

static void page_release(struct pager *pager, uint32_t page_no,
                         const uint8_t *page)
{
	(void)pager, (void)page_no, (void)page;
}

static const struct pager_methods methods = {
	.read = page_read,
	.edit = page_edit,
	.allocate = page_allocate,
	.free = page_free,
	.state_read = state_read,
	.state_edit = state_edit,
	.prefetch = page_prefetch,
	.release = page_release,
};

int memory_pager_open(struct memory_pager **memory, struct heap *heap,
                      uint32_t usable_size, bool unkind, struct err *err)
{
	struct memory_pager *m = must(calloc(1, sizeof *m));

	(void)err;
	m->heap = heap;
	m->unkind = unkind;
	m->epoch = 1;
	m->operation = 1;
	m->next_serial = 1;
	snprintf(m->name, sizeof m->name, "memory");
	m->pager = (struct pager){
		.methods = &methods,
		.view_epoch = &m->epoch,
		.usable_size = usable_size ? usable_size
		                           : MEMORY_PAGER_USABLE_SIZE,
		.name = m->name,
		.heap = heap,
	};
	m->state = must(calloc(1, PAGER_STATE_SIZE));
	GROW(m->slots, m->slot_count, m->slot_room);
	m->slots[m->slot_count++] = (struct slot){ .kind = PAGE_FILE_HEADER };
	*memory = m;
	return ERR_NONE;
}

struct pager *memory_pager_of(struct memory_pager *memory)
{
	return &memory->pager;
}

/* Unkind: a lent page gets a new address, so what was borrowed dangles. */
static void lent_pages_move(struct memory_pager *memory)
{
	uint8_t *old_state;

	for (size_t i = 0; i < memory->lent_count; i++) {
		struct slot *slot = &memory->slots[memory->lent[i]];
		uint8_t *old = slot->bytes;

		slot->lent = false;
		if (!old)
			continue;
		slot->bytes = image_copy(memory, old);
		image_free(memory, old);
	}
	memory->lent_count = 0;
	old_state = memory->state;
	memory->state = state_copy(old_state);
	memset(old_state, MEMORY_PAGER_POISON, PAGER_STATE_SIZE);
	free(old_state);
}

void memory_pager_operation_end(struct memory_pager *memory)
{
	for (size_t i = 0; i < memory->retired_count; i++)
		image_free(memory, memory->retired[i]);
	memory->retired_count = 0;
	memory->operation++;
	if (memory->unkind) {
		lent_pages_move(memory);
		memory->epoch++;
	}
}

static void view_move(struct memory_pager *memory)
{
	memory_pager_operation_end(memory);
	memory->epoch++;
}

static void mark_open(struct memory_pager *memory)
{
	GROW(memory->marks, memory->mark_count, memory->mark_room);
	memory->marks[memory->mark_count++] = (struct mark){
		.undo_count = memory->undo_count,
		.serial = memory->next_serial++,
	};
}

void memory_pager_begin(struct memory_pager *memory)
{
	assert(!memory->in_transaction);
	memory->in_transaction = true;
	mark_open(memory);
	view_move(memory);
}

static void undo_one(struct memory_pager *memory)
{
	struct undo *entry = &memory->undo[--memory->undo_count];
	struct slot *slot;

	if (entry->page_no == STATE_ENTRY) {
		free(memory->state);
		memory->state = entry->bytes;
		memory->state_serial = entry->serial;
		return;
	}
	slot = &memory->slots[entry->page_no];
	retire(memory, slot->bytes);
	slot->bytes = entry->bytes;
	slot->serial = entry->serial;
	slot->kind = entry->kind;
	slot->operation = 0;
}

static void free_numbers_rebuild(struct memory_pager *memory)
{
	memory->free_count = 0;
	for (uint32_t i = 1; i < memory->slot_count; i++)
		if (memory->slots[i].kind == PAGE_FREE)
			number_give(memory, i);
}

static void undo_to(struct memory_pager *memory, size_t undo_count)
{
	while (memory->undo_count > undo_count)
		undo_one(memory);
	free_numbers_rebuild(memory);
	view_move(memory);
}

void memory_pager_rollback(struct memory_pager *memory)
{
	assert(memory->in_transaction);
	undo_to(memory, 0);
	memory->mark_count = 0;
	memory->in_transaction = false;
}

void memory_pager_commit(struct memory_pager *memory)
{
	assert(memory->in_transaction);
	while (memory->undo_count) {
		struct undo *entry = &memory->undo[--memory->undo_count];

		if (entry->page_no == STATE_ENTRY)
			free(entry->bytes);
		else
			image_free(memory, entry->bytes);
	}
	memory->mark_count = 0;
	memory->in_transaction = false;
	view_move(memory);
}

void memory_pager_savepoint(struct memory_pager *memory, int n)
{
	assert(memory->in_transaction && n >= 0);
	while (memory->mark_count < (size_t)n + 2)
		mark_open(memory);
	memory_pager_operation_end(memory);
}

void memory_pager_release(struct memory_pager *memory, int n)
{
	size_t kept = n < 0 ? 1 : (size_t)n + 1;

	if (memory->mark_count > kept)
		memory->mark_count = kept;
	memory_pager_operation_end(memory);
}

void memory_pager_rollback_to(struct memory_pager *memory, int n)
{
	size_t index = n < 0 ? 0 : (size_t)n + 1;
	size_t undo_count;

	assert(memory->in_transaction);
	if (index < memory->mark_count) {
		undo_count = memory->marks[index].undo_count;
		memory->mark_count = index + 1;
	} else {
		undo_count = 0;
		for (size_t i = 0; i < memory->mark_count; i++)
			memory->marks[i].undo_count = 0;
	}
	undo_to(memory, undo_count);
}

void memory_pager_fail(struct memory_pager *memory, unsigned calls, uint64_t in,
                       bool sticky)
{
	memory->fail_calls = calls;
	memory->fail_in = in;
	memory->fail_sticky = sticky;
	memory->failing = false;
}

uint64_t memory_pager_calls(const struct memory_pager *memory, unsigned calls)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 7; i++)
		if (calls & (1u << i))
			sum += memory->calls[i];
	return sum;
}

uint32_t memory_pager_page_count(const struct memory_pager *memory)
{
	return memory->slot_count;
}

enum page_kind memory_pager_page_kind(const struct memory_pager *memory,
                                      uint32_t page_no)
{
	return page_no < memory->slot_count ? memory->slots[page_no].kind
	                                    : PAGE_FREE;
}

uint32_t memory_pager_pages_of_kind(const struct memory_pager *memory,
                                    enum page_kind kind)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i < memory->slot_count; i++)
		count += memory->slots[i].kind == kind;
	return count;
}

uint8_t *memory_pager_bytes(struct memory_pager *memory, uint32_t page_no)
{
	return page_no < memory->slot_count ? memory->slots[page_no].bytes
	                                    : NULL;
}

uint8_t *memory_pager_state_bytes(struct memory_pager *memory)
{
	return memory->state;
}

void memory_pager_visits_reset(struct memory_pager *memory)
{
	for (uint32_t i = 0; i < memory->slot_count; i++)
		memory->slots[i].visits = 0;
}

void memory_pager_visit(void *context, uint32_t page_no)
{
	struct memory_pager *memory = context;

	if (page_no < memory->slot_count)
		memory->slots[page_no].visits++;
}

int memory_pager_visits_check(const struct memory_pager *memory,
                              struct err *err)
{
	for (uint32_t i = 1; i < memory->slot_count; i++) {
		const struct slot *slot = &memory->slots[i];
		uint32_t wanted = slot->kind == PAGE_FREE ? 0 : 1;

		if (slot->visits != wanted)
			return err_set(err, ERR_CORRUPT, "check pages",
			               memory->name,
			               "page %u of kind %d is reached %u times, "
			               "not %u", i, (int)slot->kind,
			               slot->visits, wanted);
	}
	return ERR_NONE;
}

static void image_compare(const uint8_t *old, const uint8_t *new, size_t size,
                          struct memory_pager_changes *changes)
{
	enum { GAP = 8 };
	size_t last = 0;
	bool any = false;

	for (size_t i = 0; i < size; i++) {
		if ((old ? old[i] : 0) == new[i])
			continue;
		if (any && i - last <= GAP) {
			changes->bytes += i - last;
		} else {
			changes->ranges++;
			changes->bytes++;
		}
		last = i;
		any = true;
	}
	changes->pages += any;
}

struct memory_pager_changes
memory_pager_changes(const struct memory_pager *memory)
{
	struct memory_pager_changes changes = { 0 };
	bool *seen = must(calloc(memory->slot_count, sizeof *seen));

	for (size_t i = 0; i < memory->undo_count; i++) {
		const struct undo *entry = &memory->undo[i];
		const struct slot *slot;

		if (entry->page_no == STATE_ENTRY || seen[entry->page_no])
			continue;
		seen[entry->page_no] = true;
		slot = &memory->slots[entry->page_no];
		if (slot->bytes)
			image_compare(entry->bytes, slot->bytes,
			              memory->pager.usable_size, &changes);
	}
	free(seen);
	return changes;
}

uint64_t memory_pager_fingerprint(const struct memory_pager *memory)
{
	uint64_t sum = checksum64(memory->state, PAGER_STATE_SIZE, 0);

	for (uint32_t i = 1; i < memory->slot_count; i++) {
		const struct slot *slot = &memory->slots[i];

		if (slot->kind == PAGE_FREE)
			continue;
		sum = checksum64(slot->bytes, memory->pager.usable_size,
		                 checksum_seed(sum, i, (uint64_t)slot->kind));
	}
	return sum;
}

void memory_pager_close(struct memory_pager *memory)
{
	if (!memory)
		return;
	if (memory->in_transaction)
		memory_pager_rollback(memory);
	memory_pager_operation_end(memory);
	for (uint32_t i = 0; i < memory->slot_count; i++)
		image_free(memory, memory->slots[i].bytes);
	free(memory->slots);
	free(memory->free_numbers);
	free(memory->state);
	free(memory->undo);
	free(memory->marks);
	free(memory->retired);
	free(memory->lent);
	free(memory);
}
