/*
 * check.c - looks for what must not be: the store's own verifier.
 *
 * Walks the snapshot of a view: catalog, every page table, every image against its
 * checksum; and counts places: none is reached twice, none that is reached is free.
 */
#include "vfs/store_private.h"

struct checking {
	struct store *store;
	const struct store_root *root;
	int level;
	void (*problem)(void *context, const char *sentence);
	void *context;
	struct err first;
	bool any;

	uint32_t file_id, units, page_size;
	struct page_file *file;
	const struct catalog_entry *entry;
	uint8_t *seen;       /* a bit per place of the file */
	uint64_t capacity;
	uint32_t pages, free_pages;
	uint64_t page_count; /* numbers below it are in use or free */
	struct breath *breath;
};

static void report(struct checking *checking, const struct err *err)
{
	if (!checking->any)
		checking->first = *err;
	checking->any = true;
	if (checking->problem)
		checking->problem(checking->context, err->text);
}

static void say(struct checking *checking, uint64_t page, const char *what,
                uint64_t number)
{
	struct err err;

	err_set(&err, ERR_CORRUPT, "check", page_file_name(checking->file),
	        "page %llu: %s %llu", (unsigned long long)page, what,
	        (unsigned long long)number);
	report(checking, &err);
}

static void note_places(struct checking *checking, uint64_t page,
                        const struct page_ref *ref, uint32_t units)
{
	if (checking->file_id == STORE_CATALOG_FILE_ID &&
	    ref->place < META_FIRST_PLACE)
		say(checking, page, "lies where superblocks and locks are, at place",
		    ref->place);
	for (uint32_t i = 0; i < units; i++) {
		uint64_t place = (uint64_t)ref->place + i;

		if (place >= checking->capacity) {
			say(checking, page, "lies beyond the file, at place",
			    place);
			return;
		}
		if (checking->seen[place / 8] >> place % 8 & 1)
			say(checking, page, "shares a place with another:",
			    place);
		checking->seen[place / 8] |= (uint8_t)(1 << place % 8);
		if (space_file_built(&checking->store->space,
		                     checking->file_id) &&
		    space_is_free(&checking->store->space, checking->file_id,
		                  (uint32_t)place))
			say(checking, page, "lies at a place that counts as free:",
			    place);
	}
}

static int visit(void *context, uint32_t level, uint64_t index,
                 const struct page_ref *ref, struct err *err)
{
	struct checking *checking = context;
	const uint8_t *bytes;
	struct err why;
	int rc = breathe(checking->breath, err);

	if (rc)
		return rc;
	if (level == 0 && index >= checking->page_count)
		say(checking, index, "is beyond the number of pages:",
		    checking->page_count);
	if (ref->flags & REF_FLAG_FREE) {
		checking->free_pages++;
		return ERR_NONE;
	}
	note_places(checking, index, ref, level ? 1 : checking->units);
	if (ref->birth > checking->root->txid)
		say(checking, index, "was born after its snapshot, at",
		    ref->birth);
	if (level == 0)
		checking->pages++;
	if (level == 0 && checking->level > 0 &&
	    page_file_verify(checking->file, ref, index, &bytes, &why))
		report(checking, &why);
	return ERR_NONE;
}

/* The chain of free pages has as many links as the entry says. */
static int check_free_chain(struct checking *checking, struct err *err)
{
	const uint8_t *entry = checking->entry->bytes;
	uint32_t page_no = load_le32(entry + CATALOG_FREE_HEAD_AT);
	uint32_t count = load_le32(entry + CATALOG_FREE_COUNT_AT);
	struct page_table table;

	store_entry_table(checking->entry, &table);
	if (count != checking->free_pages) {
		say(checking, 0, "the catalog counts other free pages than its file:",
		    count);
		return ERR_NONE;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct page_ref ref;
		int rc = page_table_find(checking->file, &table, page_no, &ref,
		                         err);

		if (rc)
			return rc;
		if (page_no == 0 || !(ref.flags & REF_FLAG_FREE)) {
			say(checking, page_no,
			    "breaks the chain of free pages at link", i);
			return ERR_NONE;
		}
		page_no = ref.place;
	}
	if (page_no != 0)
		say(checking, page_no,
		    "is a free page more than the catalog counts:", count);
	return ERR_NONE;
}

static int check_table(struct checking *checking,
                       const struct page_table *table, struct err *err)
{
	int rc = page_file_capacity(checking->file, &checking->capacity, err);

	if (rc)
		return rc;
	checking->seen = heap_zeroed(checking->store->heap,
	                             (size_t)checking->capacity / 8 + 1);
	if (!checking->seen)
		return err_set(err, ERR_NOMEM, "check",
		               page_file_name(checking->file),
		               "map of %llu places",
		               (unsigned long long)checking->capacity);
	checking->pages = checking->free_pages = 0;
	rc = page_table_walk(checking->file, table, 0, visit, checking, err);
	if (rc == ERR_CORRUPT) {
		report(checking, err);
		rc = ERR_NONE;
	}
	heap_free(checking->store->heap, checking->seen);
	return rc;
}

static int check_file(void *context, uint32_t file_id,
                      const struct catalog_entry *entry, struct err *err)
{
	struct checking *checking = context;
	struct page_table table;
	struct err why;
	int rc = store_files_get(checking->store, entry, &checking->file, &why);

	if (rc) {
		report(checking, &why);
		return ERR_NONE;
	}
	checking->file_id = file_id;
	checking->entry = entry;
	checking->page_size = load_le32(entry->bytes + CATALOG_PAGE_SIZE_AT);
	checking->units = store_units(checking->page_size);
	checking->page_count = file_id == STORE_SQLITE_FILE_ID
		? UINT64_MAX : load_le32(entry->bytes + CATALOG_PAGE_COUNT_AT);
	store_entry_table(entry, &table);
	rc = check_table(checking, &table, err);
	if (!rc && load_le32(entry->bytes + CATALOG_ID_AT) !=
	                   STORE_SQLITE_FILE_ID)
		rc = check_free_chain(checking, err);
	return rc;
}

/* A checkpoint that failed or died may have left a torn one. */
static bool is_settled(const struct store *store)
{
	const struct shm_head *head = store->shm.head;

	return !store->options.immutable && !atomic_load(&head->poisoned) &&
	       !atomic_load(&head->candidate_txid);
}

static void check_superblocks(struct checking *checking)
{
	struct superblock super;
	struct err why;
	bool fresh;

	if (store_superblock_read(checking->store, &super, &fresh, &why))
		report(checking, &why);
	else if (fresh || super.txid > checking->root->txid) {
		err_set(&why, ERR_CORRUPT, "check", checking->store->path,
		        "the superblock names commit %llu, the newest is %llu",
		        (unsigned long long)super.txid,
		        (unsigned long long)checking->root->txid);
		if (fresh)
			report(checking, &why);
	} else if (super.other_damaged && is_settled(checking->store)) {
		err_set(&why, ERR_CORRUPT, "check", checking->store->path,
		        "one of the two superblocks in turdb.meta is damaged; the other one serves, and the next checkpoint writes it again");
		report(checking, &why);
	}
}

void store_view_breathe(struct store_view *view, struct breath *breath)
{
	view->breath = breath;
}

int store_check(struct store_view *view, int level,
                void (*problem)(void *context, const char *sentence),
                void *context, struct err *err)
{
	struct store *store = view->store;
	struct checking checking = {
		.store = store, .root = &view->root, .level = level,
		.problem = problem, .context = context,
		.breath = view->breath,
	};
	int rc;

	if (!view->reading)
		return err_set(err, ERR_INVALID, "check", store->path,
		               "no snapshot is held");
	check_superblocks(&checking);
	checking.file = store->catalog_file;
	checking.file_id = STORE_CATALOG_FILE_ID;
	checking.units = 1;
	checking.page_size = PLACE_SIZE;
	checking.page_count = UINT64_MAX;
	rc = check_table(&checking, &view->root.catalog, err);
	if (!rc)
		rc = store_catalog_each(store, &view->root.catalog, check_file,
		                        &checking, err);
	if (rc == ERR_CORRUPT) {
		report(&checking, err);
		rc = ERR_NONE;
	}
	if (rc)
		return rc;
	if (!checking.any)
		return ERR_NONE;
	if (err) {
		*err = checking.first;
		err->code = ERR_CORRUPT;
	}
	return ERR_CORRUPT;
}
