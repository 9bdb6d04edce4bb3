/*
 * list.c - which segments there are on disk, by position.
 *
 * Read when something about files is to be decided: at replay and start, once
 * a segment, at a checkpoint. Names that are not ours are left alone.
 */
#include "wal/wal_private.h"

#include <stdlib.h>

enum { NAME_DIGITS_MIN = 6, LIST_ROOM_FIRST = 8 };

struct listing {
	struct wal *wal;
	struct wal_list *list;
	struct err *err;
};

/* The number in "wal.000001"; 0 when it is no name of ours. */
static uint32_t number_of(const char *entry)
{
	static const char prefix[] = "wal.";
	uint64_t number = 0;
	size_t digits = 0;

	if (strncmp(entry, prefix, sizeof prefix - 1) != 0)
		return 0;
	entry += sizeof prefix - 1;
	for (; entry[digits]; digits++) {
		if (entry[digits] < '0' || entry[digits] > '9' ||
		    digits == 10)
			return 0;
		number = number * 10 + (uint64_t)(entry[digits] - '0');
	}
	if (digits < NAME_DIGITS_MIN ||
	    (digits > NAME_DIGITS_MIN && entry[0] == '0') ||
	    number > UINT32_MAX)
		return 0;
	return (uint32_t)number;
}

static int make_room(struct listing *listing)
{
	struct wal_list *list = listing->list;
	size_t room = list->room ? 2 * list->room : LIST_ROOM_FIRST;
	struct wal_segment *items;

	if (list->count < list->room)
		return ERR_NONE;
	items = heap_resize(listing->wal->heap, list->items,
	                    room * sizeof *items);
	if (!items)
		return err_set(listing->err, ERR_NOMEM, "list log segments",
		               "wal", "out of memory");
	list->items = items;
	list->room = room;
	return ERR_NONE;
}

static int add_entry(void *context, const char *entry)
{
	struct listing *listing = context;
	struct wal_list *list = listing->list;
	uint32_t no = number_of(entry);
	bool exists;
	int rc;

	if (no == 0)
		return ERR_NONE;
	if (no > list->last_no)
		list->last_no = no;
	rc = make_room(listing);
	if (rc)
		return rc;
	rc = wal_segment_read(listing->wal, no, &list->items[list->count],
	                      &exists, listing->err);
	if (!rc && exists) {
		list->valid_count += list->items[list->count].valid;
		list->count++;
	}
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct wal_segment *left = a, *right = b;

	if (left->valid != right->valid)
		return left->valid ? -1 : 1;
	if (left->valid && left->first != right->first)
		return left->first < right->first ? -1 : 1;
	return left->no < right->no ? -1 : left->no > right->no;
}

int wal_list_read(struct wal *wal, struct wal_list *list, struct err *err)
{
	struct wal_list read = { 0 };
	struct listing listing = { .wal = wal, .list = &read, .err = err };
	int rc;

	rc = wal->dir->os->methods->directory_list(wal->dir, "wal", add_entry,
	                                           &listing, err);
	if (rc) {
		wal_list_close(wal, &read);
		return rc;
	}
	if (read.count)
		qsort(read.items, read.count, sizeof *read.items, compare);
	*list = read;
	return ERR_NONE;
}

void wal_list_close(struct wal *wal, struct wal_list *list)
{
	heap_free(wal->heap, list->items);
	*list = (struct wal_list){ 0 };
}

int wal_list_check_damage(struct wal *wal, const struct wal_list *list,
                          struct err *err)
{
	for (size_t i = list->valid_count; i < list->count; i++) {
		char name[WAL_NAME_SIZE];
		bool blank;
		int rc;

		rc = wal_segment_is_blank(wal, list->items[i].no, &blank, err);
		if (rc)
			return rc;
		wal_segment_name(name, list->items[i].no);
		if (!blank)
			return err_set(err, ERR_CORRUPT, "open log segment",
			               name, "its header is damaged, but it "
			               "holds records");
	}
	return ERR_NONE;
}

int wal_segments(struct wal *wal,
                 int (*each)(void *context, uint32_t segment_no,
                             uint64_t bytes, uint64_t first_lsn),
                 void *context, struct err *err)
{
	struct wal_list list;
	int rc = wal_list_read(wal, &list, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < list.valid_count && !rc; i++)
		rc = each(context, list.items[i].no, list.items[i].file_size,
		          list.items[i].first);
	wal_list_close(wal, &list);
	return rc;
}
