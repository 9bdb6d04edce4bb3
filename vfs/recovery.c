/*
 * recovery.c - brings a database up to its last commit, and makes a new one.
 *
 * Purpose       Runs once, in the first process that opens the directory, before
 *               any snapshot exists; holds LOCK_OPEN_AT exclusively.
 * Architecture  Superblock, then the log records after it through replay.c; ends in
 *               a superblock of its own. Knows pages, never keys or vectors.
 * Safety        (Y1) turdb.meta is synced before its superblock is believed: what
 *               the page cache shows may not be on disk.
 *               (Y2) Running twice equals running once: nothing that the superblock
 *               reaches is written, and the superblock is written last.
 *               (Y3) The log goes on in a new segment with a new salt, made when
 *               the first writer comes: readers alone never write a byte.
 *               (Y4) After a failed sync, also of a recovery, the kernel may show a
 *               superblock that is not on disk and call its page clean, so that
 *               (Y1) proves nothing: shared memory remembers (it is gone with the
 *               page cache when the machine restarts), and the superblock is
 *               written again, in its own place, before it is believed.
 *               (Y5) The superblock names the segment that the first writer began
 *               before a record enters it, so that it cannot be gone unnoticed: where
 *               a log ends, nothing else says that it went on. Later segments are
 *               promised by the last record of the one before. Before a segment may be
 *               begun anew the superblock forgets it.
 *               (Y6) A superblock that says clean is written only when no record
 *               follows its position; then, and only while its other copy holds, the
 *               log may lack that position. Otherwise a part of the log that is
 *               missing is given up when the user names the last commit before it,
 *               and the log goes on beyond all that the lost part can have held.
 */
#include "vfs/store_private.h"

#include <assert.h>
#include <inttypes.h>

static const char readme[] =
	"This directory is one TurDB database: a file per table under root/, a write-ahead\n"
	"log under wal/, and turdb.meta, which ties them together. Open it with SQLite and\n"
	"the TurDB extension as file:NAME?vfs=turdb. Copy or move it only as a whole, while\n"
	"nobody has it open; turdb.shm and turdb.reserve, which keeps room for a full disk, are\n"
	"worthless alone and may be left behind.\n";

static int write_readme(struct store *store, uint32_t mode, struct err *err)
{
	struct os_file *file;
	int rc = os_open(store->dir, "README.txt",
	                 OS_OPEN_WRITE | OS_OPEN_CREATE, mode, &file, err);

	if (rc)
		return rc;
	rc = os_write(file, 0, readme, sizeof readme - 1, err);
	os_close(file);
	return rc;
}

static int make_directory(struct store *store, const char *name,
                          struct err *err)
{
	int rc = store->os->methods->directory_make(store->os, store->dir, name,
	                                            err);

	return rc == ERR_EXISTS ? ERR_NONE : rc;
}

/* The first catalog page: entry 0, the catalog's own. */
static int first_catalog(struct store *store, struct page_table *catalog,
                         struct err *err)
{
	uint8_t page[PLACE_SIZE] __attribute__((aligned(16))) = { 0 };
	uint8_t *entry = page + CATALOG_PAGE_HEAD;
	struct page_ref ref = { .place = META_FIRST_PLACE, .length = PLACE_SIZE,
	                        .birth = 1 };
	uint64_t capacity;
	int rc;

	store_le32(page + CATALOG_PAGE_MAGIC_AT, CATALOG_PAGE_MAGIC);
	store_le32(entry + CATALOG_PAGE_SIZE_AT, PLACE_SIZE);
	store_le32(entry + CATALOG_PAGE_COUNT_AT, STORE_FIRST_FREE_FILE_ID);
	store_le64(entry + CATALOG_BIRTH_AT, 1);
	ref.checksum = page_file_checksum(STORE_CATALOG_FILE_ID, 0, ref.birth,
	                                  page, PLACE_SIZE);
	rc = page_file_reserve(store->catalog_file, META_FIRST_PLACE + 1,
	                       &capacity, err);
	if (!rc)
		rc = page_file_write(store->catalog_file, &ref, page, err);
	*catalog = (struct page_table){ .root = ref, .depth = 0 };
	return rc;
}

/* The directory's own name must be on disk before anything in it is promised. */
static int sync_parent(struct store *store, struct err *err)
{
	struct os_file *parent;
	int rc = store_parent_open(store, &parent, err);

	if (rc)
		return rc;
	rc = store->os->methods->directory_sync(parent, NULL, err);
	os_close(parent);
	return rc;
}

/* turdb.meta is empty: nothing was ever committed here. The superblocks come last,
 * one after the other, so a creation that dies is simply begun again. */
int store_create_files(struct store *store, struct err *err)
{
	const struct os_methods *os = store->os->methods;
	struct superblock super = { .sequence = 1, .txid = 1, .clean = true };
	struct os_identity identity;
	int rc = os->identity(store->meta, &identity, err);

	os->random(store->os, super.database, sizeof super.database);
	super.created_ms = os->wall_ms(store->os);
	super.segment_size = store->segment_size;
	store->database[0] = super.database[0];
	store->database[1] = super.database[1];
	if (!rc)
		rc = make_directory(store, "root", err);
	if (!rc)
		rc = make_directory(store, "wal", err);
	if (!rc)
		rc = write_readme(store, identity.mode, err);
	if (!rc)
		rc = first_catalog(store, &super.catalog, err);
	if (!rc)
		rc = os_sync(store->meta, err);
	if (!rc)
		rc = os->directory_sync(store->dir, NULL, err);
	if (!rc)
		rc = sync_parent(store, err);
	for (uint32_t i = 0; !rc && i < META_SUPERBLOCKS; i++) {
		super.sequence = i + 1;
		rc = store_superblock_write(store, &super, err);
		if (!rc)
			rc = os_sync(store->meta, err);
	}
	return rc;
}

static void shm_fill(struct store *store, const struct store_root *root,
                     const struct superblock *super)
{
	struct shm_head *head = store->shm.head;

	head->durable = *root;
	atomic_store(&head->durable_txid, root->txid);
	atomic_store(&head->checkpointed, root->lsn);
	atomic_store(&head->super_sequence, super->sequence);
	atomic_store(&head->checkpoint_ms,
	             store->os->methods->monotonic_us(store->os) / 1000);
	store_publish(store, root);
}

static int refuse_record(void *context, uint64_t lsn, struct span payload,
                         struct err *err)
{
	const struct store *store = context;

	(void)lsn, (void)payload;
	return err_set(err, ERR_READONLY, "open", store->path,
	               "the log holds commits that are not in the data files yet: open it for writing once");
}

/* A torn superblock has its log behind the other one; without that it was not a
 * crash that damaged it. */
static int explain(struct store *store, const struct superblock *super, int rc,
                   struct err *err)
{
	struct err reason;

	if (rc != ERR_CORRUPT || !super->other_damaged || !err)
		return rc;
	reason = *err;
	return err_set(err, rc, "open", store->path,
	               "one superblock in turdb.meta is damaged, and the other one is too old: %s",
	               reason.text);
}

/* (Y5) */
static bool has_line(const struct superblock *super,
                     const struct wal_history *history)
{
	return !super->line || wal_history_has(history, super->line);
}

/* Nothing has been written yet when damage is met (vfs/replay R3). */
static int follow_log(struct store *store, const struct superblock *super,
                      struct wal_history *history, struct replay *replay,
                      uint64_t *end, struct err *err)
{
	int rc;

	if (!has_line(super, history))
		rc = err_set(err, ERR_CORRUPT, "replay the log", "wal",
		             "the segment that the last writer began is missing");
	else if (store->options.immutable)
		rc = wal_history_read(history, refuse_record, store, end, err);
	else
		rc = store_replay_follow(replay, history, end, err);
	return rc || store->options.immutable ? rc
	                                      : store_replay_check(replay, err);
}

static int superblock_renew(struct store *store, struct superblock *super,
                            const struct store_root *root, struct err *err)
{
	int rc;

	super->sequence++;
	super->txid = root->txid;
	super->lsn = root->lsn;
	super->line = 0;
	super->clean = true;
	super->catalog = root->catalog;
	rc = store_superblock_write(store, super, err);
	return rc ? rc : os_sync(store->meta, err);
}

/* --- a log that lacks a part ------------------------------------------------------- */

/* The user's decision is wanted, and for this very loss: a number that stayed in some
 * program's URI since another one decides nothing. */
static int ask_whether_to_lose(struct store *store, uint64_t txid,
                               struct err *err)
{
	struct err reason = *err;

	store->advised = true;
	return err_set(err, ERR_CORRUPT, "open", store->path,
	               "commits after transaction %" PRIu64 " cannot be read (%.150s); put back what is missing, "
	               "or give them up by opening it once with turdb_lose_after=%" PRIu64 " in the URI",
	               txid, reason.text, txid);
}

/* What follow_log() has said may be what the user was asked about, or is to be. *lost:
 * go on with what was followed, or with the base alone. */
static int judge_cut(struct store *store, const struct superblock *super,
                     const struct wal_history *history,
                     const struct replay *replay, int rc, bool *lost,
                     struct err *err)
{
	bool line = has_line(super, history);
	uint64_t txid = line ? store_replay_txid(replay) : super->txid;

	*lost = false;
	if (rc != ERR_CORRUPT || !err)
		return rc;
	if (super->other_damaged) /* what the older one reaches may be gone */
		return explain(store, super, rc, err);
	if (line && !wal_history_is_cut(history))
		return rc;
	if (store->options.lose_after != txid || store->options.immutable)
		return ask_whether_to_lose(store, txid, err);
	store->lost_after = txid;
	*lost = true;
	return ERR_NONE;
}

/* Once more, with an end where the damage is. */
static int follow_cut(const struct superblock *super,
                      struct wal_history *history, struct replay *replay,
                      uint64_t *end, struct err *err)
{
	int rc = ERR_NONE;

	wal_history_cut(history);
	if (has_line(super, history))
		rc = store_replay_follow(replay, history, end, err);
	*end = wal_history_beyond(history);
	return rc ? rc : store_replay_check(replay, err);
}

/* --- replay ------------------------------------------------------------------------ */

static int follow(struct store *store, const struct superblock *super,
                  struct wal_history *history, const struct store_root *base,
                  struct replay **replay, uint64_t *end, struct err *err)
{
	bool lost;
	int rc = store_replay_open(store, base, true, replay, err);

	if (rc)
		return rc;
	rc = follow_log(store, super, history, *replay, end, err);
	rc = judge_cut(store, super, history, *replay, rc, &lost, err);
	if (!rc && !lost)
		return ERR_NONE;
	store_replay_close(*replay);
	if (!rc)
		rc = store_replay_open(store, base, true, replay, err);
	if (rc)
		return rc;
	rc = follow_cut(super, history, *replay, end, err);
	if (rc)
		store_replay_close(*replay);
	return rc;
}

/* A file in wal/ that is no segment of ours. Without it there is a gap, and that can
 * be decided about. */
static int explain_segment(struct store *store, const struct superblock *super,
                           int rc, struct err *err)
{
	struct err reason;

	if (!err || super->other_damaged)
		return explain(store, super, rc, err);
	if (rc != ERR_CORRUPT)
		return rc;
	reason = *err;
	store->advised = true;
	return err_set(err, rc, "open", store->path,
	               "%s; put the right file there, or move this one away: the next opening then says what is lost without it",
	               reason.text);
}

static int replay_log(struct store *store, struct superblock *super,
                      struct store_root *root, struct err *err)
{
	struct wal_history *history;
	struct replay *replay;
	struct store_root base = *root;
	uint64_t end = super->lsn;
	bool changed;
	int rc = wal_history_open(store->wal, super->lsn, &history, err);

	if (rc)
		return explain_segment(store, super, rc, err);
	if (super->clean && !super->other_damaged) /* (Y6) */
		wal_history_expect_none(history);
	rc = follow(store, super, history, &base, &replay, &end, err);
	if (rc)
		goto close_history;
	rc = store_replay_finish(replay, root, &changed, err);
	if (!rc && (changed || store->lost_after)) {
		root->lsn = end;
		rc = store_replay_sync(replay, err);
		if (!rc)
			rc = superblock_renew(store, super, root, err);
	}
	store_replay_close(replay);

close_history:
	wal_history_close(history);
	return rc;
}

/* (Y1), (Y4) */
static int superblock_believe(struct store *store, bool suspect,
                              struct superblock *super, struct err *err)
{
	bool fresh;
	int rc = ERR_NONE;

	if (!store->options.immutable &&
	    !PLANTED(store->environment, PLANT_SUPERBLOCK_UNSYNCED))
		rc = os_sync(store->meta, err);
	if (!rc)
		rc = store_superblock_read(store, super, &fresh, err);
	if (!rc && fresh)
		return err_set(err, ERR_CORRUPT, "open", store->path,
		               "turdb.meta is empty: the directory was never completely made; remove it and begin anew");
	if (rc || !suspect || store->options.immutable)
		return rc;
	rc = store_superblock_write(store, super, err);
	return rc ? rc : os_sync(store->meta, err);
}

int store_recover(struct store *store, bool suspect, struct err *err)
{
	struct superblock super;
	struct store_root root;
	uint64_t sequence;
	int rc = superblock_believe(store, suspect, &super, err);

	if (rc)
		return rc;
	sequence = super.sequence;
	root = (struct store_root){ .txid = super.txid, .lsn = super.lsn,
	                            .catalog = super.catalog };
	rc = replay_log(store, &super, &root, err);
	if (rc)
		return rc;
	assert(root.txid >= super.txid); /* (Y2) */
	if (super.other_damaged && super.sequence == sequence &&
	    !store->options.immutable)
		rc = store_superblock_settle(store, err);
	if (rc)
		return rc;
	space_reset(&store->space, true);
	shm_fill(store, &root, &super);
	atomic_store(&store->shm.head->super_repaired, super.other_damaged);
	if (store->options.immutable)
		return ERR_NONE;
	return store_files_remove_orphans(store, &root, true, err);
}

/* Keeps (Y5). Who holds the writer lock before the first commit is alone with the
 * superblock: there is nothing yet to checkpoint. */
static int name_line(struct store *store, uint64_t line, struct err *err)
{
	struct superblock super;
	bool fresh;
	int rc = store_superblock_read(store, &super, &fresh, err);

	if (rc || super.line == line)
		return rc;
	assert(atomic_load(&store->shm.head->candidate_txid) == 0);
	super.sequence++;
	super.line = line;
	super.clean = false;
	rc = store_superblock_write(store, &super, err);
	if (!rc && !PLANTED(store->environment, PLANT_SUPERBLOCK_UNSYNCED))
		rc = os_sync(store->meta, err);
	if (rc)
		store_poison(store);
	else
		atomic_store(&store->shm.head->super_sequence, super.sequence);
	return rc;
}

/* (Y3) */
int store_log_start(struct store *store, struct err *err)
{
	struct shm_head *head = store->shm.head;
	struct store_root newest;
	int rc;

	if (atomic_load(&head->log_started))
		return ERR_NONE;
	store_newest_root(store, &newest);
	rc = name_line(store, 0, err);
	if (!rc)
		rc = wal_start(store->wal, newest.lsn, err);
	if (!rc)
		rc = name_line(store, wal_line(store->wal), err);
	if (!rc)
		atomic_store(&head->log_started, 1);
	return rc;
}

static int account_only(void *context, uint64_t lsn, struct span payload,
                        struct err *err)
{
	(void)context, (void)lsn, (void)payload, (void)err;
	return ERR_NONE;
}

static int replay_tail(struct store *store, const struct store_root *newest,
                       struct store_root *root, bool *changed, struct err *err)
{
	struct wal_history *history;
	struct replay *replay;
	uint64_t end;
	int rc = wal_history_open(store->wal, newest->lsn, &history, err);

	if (rc)
		return rc;
	rc = store_replay_open(store, newest, false, &replay, err);
	if (rc)
		goto close_history;
	rc = store_replay_follow(replay, history, &end, err);
	if (!rc)
		rc = store_replay_finish(replay, root, changed, err);
	if (!rc)
		root->lsn = end;
	store_replay_close(replay);

close_history:
	wal_history_close(history);
	return rc;
}

/* A dead writer's record that is whole counts: it is replayed and published. (rule 1) */
static int finish_dead_writer(struct store *store, struct err *err)
{
	struct store_root newest, root;
	bool changed;
	int rc;

	if (!atomic_load(&store->shm.head->log_started))
		return ERR_NONE;
	store_newest_root(store, &newest);
	rc = wal_scan_tail(store->wal, account_only, NULL, err);
	if (rc || atomic_load(&store->shm.head->wal.appended) == newest.lsn)
		return rc;
	rc = replay_tail(store, &newest, &root, &changed, err);
	if (rc || !changed)
		return rc;
	store_publish(store, &root);
	store_retained_rebuild(store);
	return ERR_NONE;
}

/* Builds anew what the dead had in their hands. (rule 10) */
int store_writer_entered(struct store *store, bool died, struct err *err)
{
	struct shm_head *head = store->shm.head;
	int rc;

	if (died)
		atomic_store(&head->takeover, 1);
	if (atomic_load(&head->takeover)) {
		store_retained_rebuild(store);
		rc = finish_dead_writer(store, err);
		if (rc)
			return rc;
		atomic_store(&head->takeover, 0);
	}
	if (atomic_load(&head->generation_end_pending)) {
		space_generation_end(&store->space);
		atomic_store(&head->generation_end_pending, 0);
	}
	return store_log_start(store, err);
}

int store_writer_redo(struct store *store, struct store_root *root,
                      struct err *err)
{
	struct err reason;
	int rc;

	atomic_store(&store->shm.head->takeover, 1);
	rc = store_writer_entered(store, false, &reason);
	/* What this process noted about places no longer fits: once more. */
	atomic_store(&store->shm.head->takeover, 1);
	if (rc)
		return err_set(err, ERR_OUTCOME, "commit", store->path,
		               "it is in the log, but its pages could not be written "
		               "(%s); the next writer will try again", reason.text);
	store_newest_root(store, root);
	return ERR_NONE;
}

/* (rule 9) */
void store_poison(struct store *store)
{
	atomic_store(&store->shm.head->poisoned, 1);
}

int store_poisoned(const struct store *store, struct err *err)
{
	if (!atomic_load_explicit(&store->shm.head->poisoned,
	                          memory_order_relaxed))
		return ERR_NONE;
	return err_set(err, ERR_POISONED, "write", store->path,
	               "an earlier sync failed: close it in every process and open it again");
}
