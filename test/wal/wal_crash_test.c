/*
 * wal_crash_test.c - what is left of the log after every kind of interruption.
 *
 * A small store sits on the log: its superblock, in a file of two slots, names
 * a position and the number of the record there; all before it is forgotten.
 * Records are numbered from 1. Whatever happens, the records read back are a
 * prefix of those appended, with nothing missing that was durable.
 */
#include "test/harness.h"

#include "base/checksum.h"
#include "test/sim/sim.h"
#include "test/support/explore.h"
#include "test/support/scratch_log.h"

enum {
	SEGMENT_SIZE = 16 * 1024,
	SUPER_SLOT = 4096,
	SUPER_SIZE = 40,
	RECORD_SIZE_MAX = 40000,
	READ_WRITE = OS_OPEN_WRITE | OS_OPEN_CREATE,
};

enum { MARK_BEGUN = 1, MARK_APPENDED, MARK_DURABLE };

/* Ways to do it wrong, each of which must be found. */
enum bug {
	BUG_NONE,
	BUG_NO_SYNC,             /* a commit is told durable unsynced        */
	BUG_NO_DIRECTORY_SYNC,   /* segments are used, their names unsynced  */
	BUG_LATE_HEADER,         /* nor their headers                        */
	BUG_OLDER_UNSYNCED,      /* the segment before the current one       */
	BUG_DROP_FIRST,          /* log dropped before the superblock counts */
	BUG_START_UNNAMED,       /* the superblock does not follow a restart */
};

struct super {
	uint64_t sequence, lsn, number;
};

struct little_store {
	enum bug bug;
	struct heap heap;
	struct sim_disk *disk;
	struct os *os;
	struct os_file *dir, *meta;
	struct wal_shared own_shared, *shared;
	struct wal *wal;
	struct super super;
	uint64_t next;    /* number of the next record          */
	uint32_t process;
	const struct little_store *others; /* by process, for who lives */
};

/* Bugs that are calls left out are played by methods that do nothing. */

static const struct os_methods *real;
static enum bug played_bug;
static uint32_t newest_no;

static int skip_directory_sync(struct os_file *dir, const char *name,
                               struct err *err)
{
	(void)dir, (void)name, (void)err;
	return ERR_NONE;
}

static int note_create(struct os_file *dir, const char *name, unsigned flags,
                       uint32_t mode, struct os_file **file, struct err *err)
{
	unsigned no;

	if (sscanf(name, "wal/wal.%u", &no) == 1 && flags & OS_OPEN_CREATE)
		newest_no = no;
	return real->open(dir, name, flags, mode, file, err);
}

static int skip_some_syncs(struct os_file *file, struct err *err)
{
	unsigned no;

	if (played_bug == BUG_OLDER_UNSYNCED &&
	    sscanf(file->name, "wal/wal.%u", &no) == 1 && no < newest_no)
		return ERR_NONE;
	return real->sync(file, err);
}

static int skip_header_sync(struct os_file *file, struct err *err)
{
	uint8_t magic[4];

	/* The sync of the header is the last before records come: left out, it
	 * is made up for by the first sync of a record, except for its name. */
	if (strncmp(file->name, "wal/", 4) == 0 &&
	    file->os->methods->read(file, WAL_SEGMENT_AREA_AT, magic, 4, NULL,
	                            err) == ERR_NONE &&
	    load_le32(magic) == 0)
		return ERR_NONE;
	return real->sync(file, err);
}

static void plant(struct os *os, enum bug bug)
{
	static struct os_methods wrong;

	if (!real)
		real = os->methods;
	played_bug = bug;
	wrong = *real;
	if (bug == BUG_NO_DIRECTORY_SYNC)
		wrong.directory_sync = skip_directory_sync;
	if (bug == BUG_OLDER_UNSYNCED) {
		wrong.sync = skip_some_syncs;
		wrong.open = note_create;
	}
	if (bug == BUG_LATE_HEADER)
		wrong.sync = skip_header_sync;
	if (bug != BUG_NONE)
		os->methods = &wrong;
}

/* The superblock */

static int super_write(struct little_store *store, struct err *err)
{
	uint8_t slot[SUPER_SIZE];
	int rc;

	store->super.sequence++;
	store_le64(slot, store->super.sequence);
	store_le64(slot + 8, store->super.lsn);
	store_le64(slot + 16, store->super.number);
	store_le64(slot + 24, 0);
	store_le64(slot + 32, checksum64(slot, 32, 7));
	rc = os_write(store->meta, store->super.sequence % 2 * SUPER_SLOT, slot,
	              sizeof slot, err);
	return rc ? rc : os_sync(store->meta, err);
}

static int super_read(struct little_store *store, struct err *err)
{
	uint8_t slot[SUPER_SIZE];
	size_t got;
	int rc = os_sync(store->meta, err);

	store->super = (struct super){ .number = 1 };
	for (uint64_t i = 0; i < 2 && !rc; i++) {
		rc = os_read_some(store->meta, i * SUPER_SLOT, slot,
		                  sizeof slot, &got, err);
		if (rc || got < sizeof slot ||
		    load_le64(slot + 32) != checksum64(slot, 32, 7) ||
		    load_le64(slot) <= store->super.sequence)
			continue;
		store->super = (struct super){ load_le64(slot),
			                       load_le64(slot + 8),
			                       load_le64(slot + 16) };
	}
	return rc;
}

/* Opening */

static int make_directory(struct little_store *store, struct err *err)
{
	const struct os_methods *methods = store->os->methods;
	struct os_identity there;
	struct os_file *root;
	int rc = methods->identify(store->os, NULL, "/db", &there, err);

	if (!rc && there.kind == OS_NODE_MISSING)
		rc = methods->directory_make(store->os, NULL, "/db", err);
	if (!rc)
		rc = methods->directory_open(store->os, "/", &root, err);
	if (rc)
		return rc;
	rc = methods->directory_sync(root, NULL, err);
	os_close(root);
	return rc;
}

static bool lives(void *context, uint32_t process)
{
	struct little_store *store = context;

	return !store->others || !sim_process_is_dead(store->others[process].os);
}

static int attach(struct little_store *store, struct sim_disk *disk,
                  struct err *err)
{
	struct wal_options options = {
		.segment_size = SEGMENT_SIZE, .database = 5, .mode = 0600,
		.process = store->process, .process_lives = lives,
		.context = store,
	};
	int rc;

	heap_init(&store->heap);
	store->disk = disk;
	store->os = sim_process_open(disk);
	plant(store->os, store->bug);
	rc = make_directory(store, err);
	if (!rc)
		rc = store->os->methods->directory_open(store->os, "/db",
		                                        &store->dir, err);
	if (!rc)
		rc = os_open(store->dir, "meta", READ_WRITE, 0600, &store->meta,
		             err);
	if (!rc)
		rc = store->os->methods->directory_sync(store->dir, NULL, err);
	if (!rc)
		rc = wal_open(store->dir, &store->heap, store->shared, &options,
		              &store->wal, err);
	return rc;
}

static int check_record(void *context, uint64_t lsn, struct span payload,
                        struct err *err)
{
	struct little_store *store = context;
	static uint8_t wanted[RECORD_SIZE_MAX];
	uint64_t number = payload.size >= 8 ? load_le64(payload.data) : 0;

	if (payload.size <= sizeof wanted)
		scratch_fill(wanted, payload.size, store->next);
	if (number != store->next || payload.size > sizeof wanted ||
	    memcmp(wanted, payload.data, payload.size) != 0)
		return err_set(err, ERR_CORRUPT, "check record", "",
		               "at %llu is number %llu of %zu bytes, wanted "
		               "%llu", (unsigned long long)lsn,
		               (unsigned long long)number, payload.size,
		               (unsigned long long)store->next);
	store->next++;
	return ERR_NONE;
}

/* The first process: replays, starts, names the new position. */
static int recover_store(struct little_store *store, struct err *err)
{
	uint64_t end;
	int rc = super_read(store, err);

	if (rc)
		return rc;
	store->next = store->super.number;
	rc = wal_replay(store->wal, store->super.lsn, check_record, store, &end,
	                err);
	if (!rc)
		rc = wal_start(store->wal, end, err);
	if (rc || store->bug == BUG_START_UNNAMED)
		return rc;
	store->super.lsn = atomic_load(&store->shared->appended);
	store->super.number = store->next;
	rc = super_write(store, err);
	return rc ? rc : wal_drop_before(store->wal, store->super.lsn, err);
}

static int open_store(struct little_store *store, struct sim_disk *disk,
                      struct err *err)
{
	int rc;

	if (!store->shared)
		store->shared = &store->own_shared;
	memset(store->shared, 0, sizeof *store->shared);
	rc = attach(store, disk, err);
	return rc ? rc : recover_store(store, err);
}

static void close_store(struct little_store *store)
{
	enum bug bug = store->bug;

	if (store->wal)
		wal_close(store->wal);
	os_close(store->meta);
	os_close(store->dir);
	if (store->os)
		sim_process_close(store->os);
	if (store->heap.used)
		abort();
	memset(store, 0, sizeof *store);
	store->bug = bug;
}

/* Working */

static size_t size_of(uint64_t number)
{
	static const size_t sizes[] = { 8, 120, 500, 4056, 1001, 300, 300,
		                        2500, 300, 6000 };

	if (number % 37 == 0)
		return 30000;
	return sizes[number % (sizeof sizes / sizeof sizes[0])];
}

static int append(struct little_store *store, struct err *err)
{
	static uint8_t bytes[RECORD_SIZE_MAX];
	size_t size = size_of(store->next), half = size / 2;
	struct span spans[2] = { span_of(bytes, half),
		                 span_of(bytes + half, size - half) };
	uint64_t end;
	int rc;

	scratch_fill(bytes, size, store->next);
	sim_mark(store->disk, MARK_BEGUN, store->next);
	rc = wal_append(store->wal, spans, 2, &end, err);
	if (rc || sim_process_is_dead(store->os))
		return rc;
	sim_mark(store->disk, MARK_APPENDED, store->next++);
	return ERR_NONE;
}

static int make_durable(struct little_store *store, struct err *err)
{
	int rc = ERR_NONE;

	if (store->bug != BUG_NO_SYNC)
		rc = wal_sync(store->wal, atomic_load(&store->shared->appended),
		              err);
	if (!rc && !sim_process_is_dead(store->os))
		sim_mark(store->disk, MARK_DURABLE, store->next - 1);
	return rc;
}

static int checkpoint(struct little_store *store, struct err *err)
{
	int rc = ERR_NONE;

	store->super.lsn = atomic_load(&store->shared->appended);
	store->super.number = store->next;
	if (store->bug == BUG_DROP_FIRST)
		rc = wal_drop_before(store->wal, store->super.lsn, err);
	if (!rc)
		rc = super_write(store, err);
	if (!rc)
		rc = wal_drop_before(store->wal, store->super.lsn, err);
	/* What the superblock has left behind is in the data files. */
	if (!rc && !sim_process_is_dead(store->os))
		sim_mark(store->disk, MARK_DURABLE, store->next - 1);
	return rc;
}

/* A few appends, of which some wait, some do not, as PRAGMA synchronous may
 * change; a checkpoint now and then. */
static int work_a_while(struct little_store *store, uint64_t count,
                        struct err *err)
{
	int rc = ERR_NONE;

	for (uint64_t i = 0; i < count && !rc; i++) {
		bool waits = store->next / 20 % 3 != 1;

		rc = append(store, err);
		if (!rc && waits)
			rc = make_durable(store, err);
		if (!rc && store->next % 5)
			rc = wal_prepare(store->wal, err);
		if (!rc && store->next % 23 == 0)
			rc = checkpoint(store, err);
	}
	return rc;
}

enum { SESSIONS = 5, SESSION_APPENDS = 28 };

static int work(void *context, struct sim_disk *disk, struct err *err)
{
	struct little_store *store = calloc(1, sizeof *store);
	int rc = ERR_NONE;

	store->bug = *(enum bug *)context;
	for (int i = 0; i < SESSIONS && !rc; i++) {
		rc = open_store(store, disk, err);
		if (!rc)
			rc = work_a_while(store, SESSION_APPENDS, err);
		if (!rc && i % 2)
			rc = checkpoint(store, err);
		close_store(store);
	}
	free(store);
	return rc;
}

static int check_count(const struct explore_state *state, uint64_t last,
                       struct err *err)
{
	uint64_t begun = explore_mark_max(state, MARK_BEGUN, 0);
	uint64_t promised = explore_mark_max(state, explore_is_kill(state) ?
	                                     MARK_APPENDED : MARK_DURABLE, 0);

	if (last >= promised && last <= begun)
		return ERR_NONE;
	return err_set(err, ERR_CORRUPT, "check the log", "",
	               "the last record is %llu, promised were %llu, begun "
	               "%llu", (unsigned long long)last,
	               (unsigned long long)promised,
	               (unsigned long long)begun);
}

/* What was recovered can be gone on with, and comes back again. */
static int check(void *context, struct sim_disk *disk,
                 const struct explore_state *state, struct err *err)
{
	struct little_store *store = calloc(1, sizeof *store);
	uint64_t last;
	int rc;

	store->bug = *(enum bug *)context;
	rc = open_store(store, disk, err);
	last = store->next - 1;
	if (!rc)
		rc = check_count(state, last, err);
	for (int i = 0; i < 6 && !rc; i++)
		rc = append(store, err);
	close_store(store);
	if (!rc)
		rc = open_store(store, disk, err);
	if (!rc && store->next - 1 != last + 6)
		rc = err_set(err, ERR_CORRUPT, "check the log again", "",
		             "the last record is %llu, not %llu",
		             (unsigned long long)store->next - 1,
		             (unsigned long long)last + 6);
	close_store(store);
	free(store);
	return rc;
}

static int recover_only(void *context, struct sim_disk *disk, struct err *err)
{
	struct little_store *store = calloc(1, sizeof *store);
	int rc;

	store->bug = *(enum bug *)context;
	rc = open_store(store, disk, err);
	close_store(store);
	free(store);
	return rc;
}

static struct explore_plan make_plan(struct test *t, enum bug *bug)
{
	return (struct explore_plan){
		.name = "log",
		.work = work,
		.check = check,
		.recover = recover_only,
		.context = bug,
		.seed = t->seed,
		.states = test_scaled(8000, 1000),
		.recrash_every = 10,
		.seconds = 60,
	};
}

/* (wal/segment S1, wal/segment S2) */
static void a_crash_leaves_a_prefix_with_all_that_was_durable(struct test *t)
{
	enum bug bug = BUG_NONE;
	struct explore_plan plan = make_plan(t, &bug);

	explore_expect(t, &plan);
}

static void expect_found(struct test *t, enum bug bug)
{
	struct explore_plan plan = make_plan(t, &bug);
	struct explore_result result;

	plan.name = t->name;
	plan.states = 30000;
	plan.recrash_every = 10;
	EXPECT(t, explore_crashes(&plan, &result, &t->err));
	printf("note %s: found after %llu states: %s\n", t->name,
	       (unsigned long long)result.states, result.finding[0]);
	EXPECT(t, result.findings > 0);
}

static void exploration_finds_a_commit_without_a_sync(struct test *t)
{
	expect_found(t, BUG_NO_SYNC);
}

static void exploration_finds_a_directory_never_synced(struct test *t)
{
	expect_found(t, BUG_NO_DIRECTORY_SYNC);
}

static void exploration_finds_headers_never_synced(struct test *t)
{
	expect_found(t, BUG_LATE_HEADER);
}

static void exploration_finds_an_older_segment_not_synced(struct test *t)
{
	expect_found(t, BUG_OLDER_UNSYNCED);
}

static void exploration_finds_a_log_dropped_too_early(struct test *t)
{
	expect_found(t, BUG_DROP_FIRST);
}

static void exploration_finds_a_start_the_superblock_does_not_name(struct test *t)
{
	expect_found(t, BUG_START_UNNAMED);
}

/* Two processes, one of which dies. Their shared words lie in a file of the
 * simulated disk, of which the dead one keeps a copy of its own: what it still
 * does reaches nobody. */

enum { SHM_SIZE = 64 * 1024 };

enum death { DEATH_BEFORE_CALL, DEATH_IN_CALL, DEATH_AFTER_CALL, DEATHS };

static struct {
	struct os *victim;
	uint64_t calls_left; /* until it dies, right after a call */
} fate;

static void count_call(struct os *os)
{
	if (os == fate.victim && fate.calls_left && --fate.calls_left == 0)
		sim_process_kill(os);
}

static int fatal_write(struct os_file *file, uint64_t offset,
                       const struct span *spans, size_t count, struct err *err)
{
	int rc = real->write(file, offset, spans, count, err);

	count_call(file->os);
	return rc;
}

static int fatal_sync(struct os_file *file, struct err *err)
{
	int rc = real->sync(file, err);

	count_call(file->os);
	return rc;
}

static int fatal_directory_sync(struct os_file *dir, const char *name,
                                struct err *err)
{
	int rc = real->directory_sync(dir, name, err);

	count_call(dir->os);
	return rc;
}

static int fatal_unlink(struct os_file *dir, const char *name, struct err *err)
{
	int rc = real->unlink(dir, name, err);

	count_call(dir->os);
	return rc;
}

static void die_at(struct os *os, enum death death, uint64_t call)
{
	static struct os_methods fatal;

	fatal = *real;
	fatal.write = fatal_write;
	fatal.sync = fatal_sync;
	fatal.directory_sync = fatal_directory_sync;
	fatal.unlink = fatal_unlink;
	if (death == DEATH_AFTER_CALL) {
		os->methods = &fatal;
		fate.victim = os;
		fate.calls_left = call + 1;
	} else {
		sim_process_kill_after(os, call, death == DEATH_IN_CALL);
	}
}

static int map_shared(struct little_store *store, struct err *err)
{
	struct os_file *file;
	void *at;
	int rc;

	rc = store->os->methods->reserve(store->os, SHM_SIZE, &at, err);
	if (!rc)
		rc = os_open(store->dir, "shm", READ_WRITE, 0600, &file, err);
	if (!rc)
		rc = file->os->methods->allocate(file, 0, SHM_SIZE, err);
	if (!rc)
		rc = file->os->methods->map(file, 0, SHM_SIZE, at, true, err);
	if (!rc)
		os_close(file);
	store->shared = at;
	return rc;
}

/* As attach(), but shared words in shared memory. */
static int join(struct little_store *store, struct sim_disk *disk,
                uint32_t process, const struct little_store *others,
                struct err *err)
{
	struct wal_shared *mapped;
	int rc;

	store->process = process;
	store->others = others;
	store->shared = &store->own_shared;
	rc = attach(store, disk, err);
	if (rc)
		return rc;
	wal_close(store->wal);
	store->wal = NULL;
	rc = map_shared(store, err);
	mapped = store->shared;
	if (!rc)
		rc = wal_open(store->dir, &store->heap, mapped,
		              &(struct wal_options){
		                      .segment_size = SEGMENT_SIZE,
		                      .database = 5, .mode = 0600,
		                      .process = process,
		                      .process_lives = lives,
		                      .context = store }, &store->wal, err);
	return rc;
}

static int append_and_care(struct little_store *store, struct err *err)
{
	int rc = append(store, err);

	if (!rc && store->next % 3)
		rc = make_durable(store, err);
	if (!rc)
		rc = wal_prepare(store->wal, err);
	if (!rc && store->next % 23 == 0)
		rc = checkpoint(store, err);
	return rc;
}

/* What the shared words account for is what a replay finds. */
static int compare_with_replay(struct little_store *living, struct err *err)
{
	struct little_store reader = { .next = living->super.number };
	uint64_t end;
	int rc = wal_replay(living->wal, living->super.lsn, check_record,
	                    &reader, &end, err);

	if (!rc && (reader.next != living->next ||
	            end != atomic_load(&living->shared->appended)))
		rc = err_set(err, ERR_CORRUPT, "take over", "",
		             "a replay finds %llu records, to position %llu",
		             (unsigned long long)reader.next - 1,
		             (unsigned long long)end);
	return rc;
}

/* The living one finishes the dead one's record and goes on. */
static int take_over(struct little_store *living, uint64_t next,
                     struct err *err)
{
	int rc;

	living->next = next;
	rc = wal_scan_tail(living->wal, check_record, living, err);
	if (!rc && living->next > next + 1)
		rc = err_set(err, ERR_CORRUPT, "take over", "",
		             "more than one record of the dead");
	/* The dead may have begun a checkpoint: read what is there. */
	if (!rc)
		rc = super_read(living, err);
	return rc ? rc : compare_with_replay(living, err);
}

static int play_two(struct little_store pair[2], uint64_t n, bool *died,
                    struct err *err)
{
	struct little_store *victim = &pair[0], *living = &pair[1];
	uint64_t next = victim->next;
	int rc = ERR_NONE;

	die_at(victim->os, (enum death)(n % DEATHS), n / DEATHS);
	for (int i = 0; i < 70 && !rc && !sim_process_is_dead(victim->os); i++) {
		struct little_store *now = i % 7 == 6 ? living : victim;

		next = now->next;
		rc = append_and_care(now, err);
		if (!sim_process_is_dead(victim->os))
			next = now->next;
		else if (now->next > next)
			next = now->next; /* appended, died in what followed */
		pair[0].next = pair[1].next = next;
		if (now == living)
			victim->super = living->super;
		else if (!sim_process_is_dead(victim->os))
			living->super = victim->super;
	}
	*died = sim_process_is_dead(victim->os);
	if (*died)
		rc = take_over(living, next, err);
	for (int i = 0; i < 40 && !rc; i++)
		rc = append_and_care(living, err);
	return rc;
}

static int expect_last(struct sim_disk *disk, uint64_t least, uint64_t most,
                       struct err *err)
{
	struct little_store *store = calloc(1, sizeof *store);
	int rc = open_store(store, disk, err);

	if (!rc && (store->next - 1 < least || store->next - 1 > most))
		rc = err_set(err, ERR_CORRUPT, "check the log", "",
		             "the last record is %llu, not %llu to %llu",
		             (unsigned long long)store->next - 1,
		             (unsigned long long)least,
		             (unsigned long long)most);
	close_store(store);
	free(store);
	return rc;
}

static uint64_t marked(struct sim_disk *disk, uint32_t kind)
{
	size_t count;
	const struct sim_mark *marks = sim_marks(disk, &count);
	uint64_t largest = 0;

	for (size_t i = 0; i < count; i++)
		if (marks[i].kind == kind && marks[i].value > largest)
			largest = marks[i].value;
	return largest;
}

/* The disk as it is now, and as it would be after a power loss now. */
static int expect_promises(struct sim_disk *disk, uint64_t least,
                           uint64_t most, struct err *err)
{
	struct sim_disk *lost, *kept;
	int rc;

	lost = sim_crash(disk, sim_trace_length(disk), SIM_CRASH_LOST, 1, NULL);
	kept = sim_crash(disk, sim_trace_length(disk), SIM_CRASH_KEPT, 1, NULL);
	rc = expect_last(lost, marked(disk, MARK_DURABLE), most, err);
	if (!rc)
		rc = expect_last(kept, marked(disk, MARK_DURABLE), most, err);
	if (!rc)
		rc = expect_last(disk, least, most, err);
	sim_disk_close(lost);
	sim_disk_close(kept);
	return rc;
}

static int play_death(void *context, uint64_t n, bool *reached,
                      struct err *err)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct little_store *pair = calloc(2, sizeof *pair);
	uint64_t last;
	int rc;

	(void)context;
	memset(&fate, 0, sizeof fate);
	*reached = false;
	rc = join(&pair[0], disk, 0, pair, err);
	if (!rc)
		rc = recover_store(&pair[0], err);
	if (!rc)
		rc = join(&pair[1], disk, 1, pair, err);
	pair[1].next = pair[0].next;
	pair[1].super = pair[0].super;
	if (!rc)
		rc = play_two(pair, n, reached, err);
	last = pair[1].next - 1;
	close_store(&pair[0]);
	close_store(&pair[1]);
	if (!rc)
		rc = expect_promises(disk, last, last, err);
	free(pair);
	sim_disk_close(disk);
	return rc;
}

/* (wal/append W1) */
static void a_process_may_die_at_any_call(struct test *t)
{
	/* Steps that meet every kind of death. */
	uint64_t step = DEATHS * (100 / test_scaled(100, 10) / DEATHS) + 1;
	struct explore_variants variants = {
		.name = "death", .play = play_death, .step = step,
	};

	explore_each_expect(t, &variants);
}

/* Calls that fail. */

static bool stops(int rc)
{
	return rc == ERR_OUTCOME || rc == ERR_POISONED;
}

/* Goes on after clean failures, until something says that it is over. Returns
 * whether the last append failed cleanly and was not tried again. */
static void play_with_failures(struct little_store *store, bool stop_at_once,
                               bool *unknown)
{
	struct err err;

	*unknown = false;
	for (int i = 0; i < 70; i++) {
		int rc = append(store, &err);

		*unknown = stops(rc);
		if (stops(rc) || (rc && stop_at_once))
			return;
		if (rc)
			continue;
		if (store->next % 3 && make_durable(store, &err))
			return;
		wal_prepare(store->wal, &err);
		if (store->next % 23 == 0 && checkpoint(store, &err))
			return;
	}
}

enum { CALLS_FAILED = 6 }; /* kinds of them */

struct failing {
	enum sim_fault_effect write_effect, sync_effect;
	int code;
	bool sticky, stop_at_once;
};

static void set_faults(struct sim_disk *disk, const struct failing *failing,
                       uint64_t n)
{
	static const enum sim_call calls[] = {
		SIM_CALL_WRITE, SIM_CALL_SYNC, SIM_CALL_DIRECTORY_SYNC,
		SIM_CALL_CREATE, SIM_CALL_ALLOCATE, SIM_CALL_UNLINK,
	};
	enum sim_call call = calls[n % CALLS_FAILED];

	sim_fault_add(disk, &(struct sim_fault){
		.call = call, .nth = 1 + n / CALLS_FAILED, .sticky = failing->sticky,
		.code = failing->code,
		.effect = call == SIM_CALL_WRITE ? failing->write_effect :
		          call == SIM_CALL_SYNC ? failing->sync_effect :
		          SIM_FAULT_NOTHING_DONE });
}

static int play_failure(void *context, uint64_t n, bool *reached,
                        struct err *err)
{
	const struct failing *failing = context;
	struct sim_disk *disk = sim_disk_create(NULL);
	struct little_store *store = calloc(1, sizeof *store);
	uint64_t last, begun;
	bool unknown;
	int rc;

	rc = open_store(store, disk, err);
	if (rc)
		goto close_disk;
	set_faults(disk, failing, n);
	play_with_failures(store, failing->stop_at_once, &unknown);
	*reached = true;
	sim_fault_clear(disk);
	last = store->next - 1;
	begun = unknown ? last + 1 : last;
	close_store(store);
	rc = expect_promises(disk, failing->sync_effect == SIM_FAULT_EVICT ?
	                     marked(disk, MARK_DURABLE) : last, begun, err);
close_disk:
	if (store->os)
		close_store(store);
	free(store);
	sim_disk_close(disk);
	return rc;
}

static void play_failures(struct test *t, const char *name,
                          struct failing failing)
{
	struct explore_variants variants = {
		.name = name, .play = play_failure, .context = &failing,
		.limit = CALLS_FAILED * test_scaled(110, 20),
	};

	explore_each_expect(t, &variants);
}

static void any_call_may_fail(struct test *t)
{
	play_failures(t, "a call fails", (struct failing){
		SIM_FAULT_NOTHING_DONE, SIM_FAULT_DROP, ERR_IO, false, false });
	play_failures(t, "a call fails half done", (struct failing){
		SIM_FAULT_PART_DONE, SIM_FAULT_EVICT, ERR_IO, false, false });
}

static void any_call_may_fail_for_good(struct test *t)
{
	play_failures(t, "calls fail from now on", (struct failing){
		SIM_FAULT_PART_DONE, SIM_FAULT_DROP, ERR_IO, true, false });
	play_failures(t, "the disk is full", (struct failing){
		SIM_FAULT_PART_DONE, SIM_FAULT_NOTHING_DONE, ERR_FULL, true,
		false });
}

static void a_failed_append_is_not_there_after_a_crash(struct test *t)
{
	play_failures(t, "an append fails", (struct failing){
		SIM_FAULT_PART_DONE, SIM_FAULT_DROP, ERR_IO, false, true });
}

static int write_and_deny(struct os_file *file, uint64_t offset,
                          const struct span *spans, size_t count,
                          struct err *err)
{
	int rc = real->write(file, offset, spans, count, err);

	file->os->methods = real;
	return rc ? rc : err_set(err, ERR_IO, "write", file->name, "denied");
}

/* A write that is done although it says that it failed; then the power goes
 * and of the last writes some reach the disk, some do not. (wal/append W2) */
static void a_denied_append_is_not_there_after_power_loss(struct test *t)
{
	static struct os_methods denying;
	struct sim_disk *disk = sim_disk_create(NULL);
	struct little_store *store = calloc(1, sizeof *store);

	EXPECT_OK(t, open_store(store, disk, &t->err));
	EXPECT_OK(t, append(store, &t->err));
	EXPECT_OK(t, make_durable(store, &t->err));
	denying = *real;
	denying.write = write_and_deny;
	store->os->methods = &denying;
	EXPECT_ERR(t, append(store, &t->err), ERR_IO, "denied");
	close_store(store);
	for (uint64_t seed = 0; seed < 32; seed++) {
		struct sim_disk *crashed =
			sim_crash(disk, sim_trace_length(disk),
			          SIM_CRASH_REORDERED, seed, NULL);

		EXPECT_OK(t, expect_last(crashed, 1, 1, &t->err));
		sim_disk_close(crashed);
	}
	free(store);
	sim_disk_close(disk);
}

static int play_no_memory(void *context, uint64_t n, bool *reached,
                          struct err *err)
{
	struct sim_disk *disk = sim_disk_create(NULL);
	struct little_store *store = calloc(1, sizeof *store);
	struct err ignored;
	uint64_t last;
	int rc;

	(void)context;
	rc = open_store(store, disk, err);
	store->heap.fail_in = (int64_t)n + 1;
	for (int i = 0; i < 70 && !rc; i++) {
		if (append(store, &ignored))
			continue;
		if (make_durable(store, &ignored) &&
		    atomic_load(&store->shared->failed))
			rc = err_set(err, ERR_CORRUPT, "sync", "", "poisoned");
		wal_prepare(store->wal, &ignored);
		if (store->next % 23 == 0 && checkpoint(store, &ignored))
			checkpoint(store, &ignored);
	}
	*reached = store->heap.fail_in <= 0;
	store->heap.fail_in = 0;
	last = store->next - 1;
	close_store(store);
	if (!rc)
		rc = expect_promises(disk, last, last, err);
	free(store);
	sim_disk_close(disk);
	return rc;
}

static void any_allocation_may_fail(struct test *t)
{
	struct explore_variants variants = {
		.name = "no memory", .play = play_no_memory,
	};

	explore_each_expect(t, &variants);
}

static const struct test_case cases[] = {
	CASE(a_crash_leaves_a_prefix_with_all_that_was_durable),
	CASE(exploration_finds_a_commit_without_a_sync),
	CASE(exploration_finds_a_directory_never_synced),
	CASE(exploration_finds_headers_never_synced),
	CASE(exploration_finds_an_older_segment_not_synced),
	CASE(exploration_finds_a_log_dropped_too_early),
	CASE(exploration_finds_a_start_the_superblock_does_not_name),
	CASE(a_process_may_die_at_any_call),
	CASE(any_call_may_fail),
	CASE(any_call_may_fail_for_good),
	CASE(a_failed_append_is_not_there_after_a_crash),
	CASE(a_denied_append_is_not_there_after_power_loss),
	CASE(any_allocation_may_fail),
};
TEST_MAIN(cases)
