/*
 * superblock.c - the two copies in turdb.meta that say where a recovery starts.
 *
 * Format: meta_format.h. While the database is open the two differ, and the older
 * one is of no use without its log: then a bad newer one is an error (explain() in
 * recovery.c).
 *
 * (B1) The copy that is written is always the one that does not hold the newest valid
 *      state, so a torn write leaves the other.
 * (B2) When the last process leaves, both say the same: a bit that flips while the
 *      database is closed is survived, repaired by the next opening and reported in
 *      turdb_status.
 */
#include "base/checksum.h"
#include "vfs/store_private.h"
#include "wal/wal_format.h"

#define SEQUENCE_MAX (UINT64_MAX >> 1)

enum copy_state { COPY_VALID, COPY_ZERO, COPY_BAD, COPY_NEWER };

static bool segment_size_possible(uint64_t size)
{
	return size == 0 || (size >= WAL_SEGMENT_SIZE_MIN &&
	                     size <= WAL_SEGMENT_SIZE_MAX);
}

static enum copy_state decode(const uint8_t *bytes, struct superblock *super)
{
	static const uint8_t zeros[SUPER_SIZE];

	if (memcmp(bytes, zeros, SUPER_SIZE) == 0)
		return COPY_ZERO;
	if (load_le64(bytes + SUPER_MAGIC_AT) != SUPER_MAGIC ||
	    load_le64(bytes + SUPER_CHECKSUM_AT) !=
	            checksum64(bytes, SUPER_CHECKSUM_AT, SUPER_MAGIC))
		return COPY_BAD;
	if (load_le32(bytes + SUPER_VERSION_AT) > META_VERSION)
		return COPY_NEWER;
	super->database[0] = load_le64(bytes + SUPER_DATABASE_AT);
	super->database[1] = load_le64(bytes + SUPER_DATABASE_AT + 8);
	super->sequence = load_le64(bytes + SUPER_SEQUENCE_AT);
	super->txid = load_le64(bytes + SUPER_TXID_AT);
	super->lsn = load_le64(bytes + SUPER_LSN_AT);
	super->created_ms = load_le64(bytes + SUPER_CREATED_AT);
	super->line = load_le64(bytes + SUPER_LINE_AT);
	super->clean = load_le32(bytes + SUPER_CLEAN_AT) == 1;
	page_ref_load(bytes + SUPER_CATALOG_AT, &super->catalog.root);
	super->catalog.depth = load_le32(bytes + SUPER_DEPTH_AT);
	super->segment_size =
		(uint64_t)load_le32(bytes + SUPER_SEGMENT_AT) * PLACE_SIZE;
	if (super->txid == 0 || super->sequence > SEQUENCE_MAX ||
	    super->catalog.depth > MAP_DEPTH_MAX ||
	    super->lsn % WAL_RECORD_ALIGNMENT || super->lsn > WAL_LSN_MAX ||
	    !segment_size_possible(super->segment_size) ||
	    load_le32(bytes + SUPER_PAGE_SIZE_AT) != STORE_PAGE_SIZE)
		return COPY_BAD;
	return COPY_VALID;
}

static int note_entry(void *context, const char *entry)
{
	(void)entry;
	*(bool *)context = true;
	return 0;
}

/* A creation that died leaves at most one torn copy beside zeros, and neither a
 * data file nor a log segment: those come after both copies are on disk. */
int store_directories_empty(struct store *store, bool *nothing,
                            struct err *err)
{
	static const char *const names[] = { "root", "wal" };
	bool any = false;
	int rc = ERR_NONE;

	for (size_t i = 0; !rc && i < 2; i++) {
		rc = store->os->methods->directory_list(store->dir, names[i],
		                                        note_entry, &any, err);
		if (rc == ERR_MISSING)
			rc = ERR_NONE;
	}
	*nothing = !any;
	return rc;
}

static bool same_database(const struct superblock *a, const struct superblock *b)
{
	return a->database[0] == b->database[0] &&
	       a->database[1] == b->database[1];
}

static bool same_state(const struct superblock *a, const struct superblock *b)
{
	return a->txid == b->txid && a->lsn == b->lsn &&
	       a->catalog.depth == b->catalog.depth &&
	       a->catalog.root.place == b->catalog.root.place &&
	       a->catalog.root.checksum == b->catalog.root.checksum;
}

int store_superblock_read(struct store *store, struct superblock *super,
                          bool *fresh, struct err *err)
{
	struct superblock copy;
	uint32_t valid = 0, zero = 0, bad = 0;
	bool agree = false;
	size_t got;

	*fresh = false;
	for (uint32_t i = 0; i < META_SUPERBLOCKS; i++) {
		uint8_t bytes[SUPER_SIZE];
		int rc = os_read_some(store->meta, (uint64_t)i * PLACE_SIZE,
		                      bytes, sizeof bytes, &got, err);

		if (rc)
			return rc;
		memset(bytes + got, 0, sizeof bytes - got);
		switch (decode(bytes, &copy)) {
		case COPY_VALID:
			if (valid && !same_database(super, &copy))
				return err_set(err, ERR_CORRUPT, "open",
				               store->path,
				               "the two superblocks of turdb.meta are of different databases");
			agree = valid && same_state(super, &copy);
			if (!valid || copy.sequence > super->sequence)
				*super = copy;
			valid++;
			break;
		case COPY_ZERO:
			zero++;
			break;
		case COPY_NEWER:
			return err_set(err, ERR_VERSION, "open", store->path,
			               "turdb.meta has format version %u, this library knows up to %d",
			               load_le32(bytes + SUPER_VERSION_AT),
			               META_VERSION);
		case COPY_BAD:
			bad++;
			break;
		}
	}
	super->other_damaged = bad > 0;
	super->other_agrees = agree;
	if (valid)
		return ERR_NONE;
	if (zero && bad <= 1) {
		int rc = store_directories_empty(store, fresh, err);

		if (rc || *fresh)
			return rc;
	}
	return err_set(err, ERR_CORRUPT, "open", store->path,
	               "turdb.meta has no valid superblock: it is damaged, or not a TurDB file");
}

int store_superblock_write(struct store *store, const struct superblock *super,
                           struct err *err)
{
	uint8_t bytes[SUPER_SIZE] = { 0 };

	store_le64(bytes + SUPER_MAGIC_AT, SUPER_MAGIC);
	store_le32(bytes + SUPER_VERSION_AT, META_VERSION);
	store_le32(bytes + SUPER_PAGE_SIZE_AT, STORE_PAGE_SIZE);
	store_le64(bytes + SUPER_DATABASE_AT, super->database[0]);
	store_le64(bytes + SUPER_DATABASE_AT + 8, super->database[1]);
	store_le64(bytes + SUPER_SEQUENCE_AT, super->sequence);
	store_le64(bytes + SUPER_TXID_AT, super->txid);
	store_le64(bytes + SUPER_LSN_AT, super->lsn);
	page_ref_store(bytes + SUPER_CATALOG_AT, &super->catalog.root);
	store_le32(bytes + SUPER_DEPTH_AT, super->catalog.depth);
	store_le32(bytes + SUPER_SEGMENT_AT,
	           (uint32_t)(super->segment_size / PLACE_SIZE));
	store_le64(bytes + SUPER_CREATED_AT, super->created_ms);
	store_le64(bytes + SUPER_LINE_AT, super->line);
	store_le32(bytes + SUPER_CLEAN_AT, super->clean);
	store_le64(bytes + SUPER_CHECKSUM_AT,
	           checksum64(bytes, SUPER_CHECKSUM_AT, SUPER_MAGIC));
	return os_write(store->meta,
	                super->sequence % META_SUPERBLOCKS * PLACE_SIZE, bytes,
	                sizeof bytes, err); /* (B1) */
}

/* (B2) */
int store_superblock_settle(struct store *store, struct err *err)
{
	struct superblock super;
	bool fresh;
	int rc = store_superblock_read(store, &super, &fresh, err);

	if (rc || fresh || (super.other_agrees && !super.line))
		return rc;
	super.sequence++;
	super.line = 0;
	super.clean = true;
	rc = store_superblock_write(store, &super, err);
	return rc ? rc : os_sync(store->meta, err);
}
