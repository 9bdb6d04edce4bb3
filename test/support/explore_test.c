/*
 * explore_test.c - the explorer finds what is wrong with a naive store.
 *
 * The store is one file of records, each with its number and a checksum over
 * itself; a record counts when it and all before it hold. Done right that is a
 * correct little log. Each bug is one thing left out.
 */
#include "test/harness.h"

#include "base/checksum.h"
#include "test/sim/sim.h"
#include "test/support/explore.h"

enum { RECORD_SIZE = 7000, COMMITS = 12, MARK_COMMITTED = 1, MARK_BEGUN = 2,
       MARK_WRITTEN = 3,
       READ_WRITE = OS_OPEN_WRITE | OS_OPEN_CREATE };

enum bug {
	BUG_NONE,
	BUG_NO_SYNC,            /* says committed before the disk has it       */
	BUG_NO_DIRECTORY_SYNC,  /* the file's name may be lost                 */
	BUG_NO_CHECKSUM,        /* trusts the number alone: torn records pass  */
	BUG_LATE_WRITE,         /* says written and committed before it has    */
	BUG_REWRITE,            /* recovery copies the records in place, sync
	                           last: only a crash inside it shows           */
	BUG_CRASH,              /* dies of what a torn record holds             */
	BUG_HANG,
};

struct naive {
	enum bug bug;
	struct os *os;
	struct os_file *dir, *log;
};

static int naive_open(struct naive *naive, struct sim_disk *disk,
                      struct err *err)
{
	struct os_identity there;
	struct os_file *root;
	int rc;

	naive->os = sim_process_open(disk);
	rc = naive->os->methods->identify(naive->os, NULL, "/db", &there, err);
	if (!rc && there.kind == OS_NODE_MISSING)
		rc = naive->os->methods->directory_make(naive->os, NULL, "/db",
		                                        err);
	if (!rc)
		rc = naive->os->methods->directory_open(naive->os, "/", &root,
		                                        err);
	if (!rc)
		rc = naive->os->methods->directory_sync(root, NULL, err);
	if (!rc)
		rc = naive->os->methods->directory_open(naive->os, "/db",
		                                        &naive->dir, err);
	if (!rc)
		rc = os_open(naive->dir, "log", READ_WRITE, 0600, &naive->log,
		             err);
	if (!rc && naive->bug != BUG_NO_DIRECTORY_SYNC)
		rc = naive->os->methods->directory_sync(naive->dir, NULL, err);
	return rc;
}

static void make_record(uint64_t number, uint8_t record[RECORD_SIZE])
{
	memset(record, (int)(number & 0x7f) + 1, RECORD_SIZE);
	store_le64(record, number);
	store_le64(record + RECORD_SIZE - 8,
	           checksum64(record, RECORD_SIZE - 8, 0));
}

static bool record_holds(const struct naive *naive, uint64_t number,
                         const uint8_t record[RECORD_SIZE])
{
	if (load_le64(record) != number)
		return false;
	return naive->bug == BUG_NO_CHECKSUM ||
	       load_le64(record + RECORD_SIZE - 8) ==
	       checksum64(record, RECORD_SIZE - 8, 0);
}

static int naive_commit(struct naive *naive, struct sim_disk *disk,
                        uint64_t number, struct err *err)
{
	uint8_t record[RECORD_SIZE];
	int rc;

	make_record(number, record);
	sim_mark(disk, MARK_BEGUN, number);
	if (naive->bug == BUG_LATE_WRITE)
		sim_mark(disk, MARK_COMMITTED, number);
	rc = os_write(naive->log, (number - 1) * RECORD_SIZE, record,
	              RECORD_SIZE / 2, err);
	if (!rc)
		rc = os_write(naive->log, (number - 1) * RECORD_SIZE +
		              RECORD_SIZE / 2, record + RECORD_SIZE / 2,
		              RECORD_SIZE / 2, err);
	if (!rc)
		sim_mark(disk, MARK_WRITTEN, number);
	if (!rc && naive->bug != BUG_NO_SYNC)
		rc = os_sync(naive->log, err);
	if (!rc && naive->bug != BUG_LATE_WRITE)
		sim_mark(disk, MARK_COMMITTED, number);
	return rc;
}

static int work(void *context, struct sim_disk *disk, struct err *err)
{
	struct naive naive = { .bug = *(enum bug *)context };
	int rc = naive_open(&naive, disk, err);

	for (uint64_t i = 1; i <= COMMITS && !rc; i++)
		rc = naive_commit(&naive, disk, i, err);
	return rc;
}

/* Counts the records that hold; content that cannot be is an error. */
static int count_records(struct naive *naive, uint64_t *count, struct err *err)
{
	uint8_t record[RECORD_SIZE], wanted[RECORD_SIZE];
	size_t got;
	int rc;

	for (*count = 0;; ++*count) {
		rc = os_read_some(naive->log, *count * RECORD_SIZE, record,
		                  RECORD_SIZE, &got, err);
		if (rc)
			return rc;
		if (got == RECORD_SIZE && load_le64(record) == *count + 1 &&
		    !record_holds(naive, *count + 1, record)) {
			if (naive->bug == BUG_CRASH)
				abort();
			while (naive->bug == BUG_HANG)
				;
		}
		if (got < RECORD_SIZE || !record_holds(naive, *count + 1, record))
			return ERR_NONE;
		make_record(*count + 1, wanted);
		if (memcmp(record, wanted, RECORD_SIZE) != 0)
			return err_set(err, ERR_CORRUPT, "check record", "log",
			               "%llu is torn",
			               (unsigned long long)*count + 1);
	}
}

static int rewrite(struct naive *naive, uint64_t count, struct err *err)
{
	uint8_t record[RECORD_SIZE];
	int rc = naive->os->methods->truncate(naive->log, 0, err);

	for (uint64_t i = 1; i <= count && !rc; i++) {
		make_record(i, record);
		rc = os_write(naive->log, (i - 1) * RECORD_SIZE, record,
		              RECORD_SIZE, err);
	}
	return rc ? rc : os_sync(naive->log, err);
}

static int check(void *context, struct sim_disk *disk,
                 const struct explore_state *state, struct err *err)
{
	struct naive naive = { .bug = *(enum bug *)context };
	uint64_t promised = explore_mark_max(state, explore_is_kill(state) ?
	                                     MARK_WRITTEN : MARK_COMMITTED, 0);
	uint64_t count = 0;
	int rc = naive_open(&naive, disk, err);

	if (!rc)
		rc = count_records(&naive, &count, err);
	if (!rc && count < promised)
		rc = err_set(err, ERR_ABORT, "check log", "",
		             "%llu commits were promised, %llu are there",
		             (unsigned long long)promised,
		             (unsigned long long)count);
	if (!rc && count > explore_mark_max(state, MARK_BEGUN, 0))
		rc = err_set(err, ERR_ABORT, "check log", "", "too many");
	if (!rc && naive.bug == BUG_REWRITE)
		rc = rewrite(&naive, count, err);
	sim_process_close(naive.os);
	return rc;
}

static struct explore_plan plan_for(struct test *t, enum bug *bug)
{
	return (struct explore_plan){
		.name = t->name, .work = work, .check = check, .context = bug,
		.seed = t->seed, .states = 1500, .recrash_every = 10,
		.hang_seconds = 1,
	};
}

static void a_correct_store_has_no_findings(struct test *t)
{
	enum bug bug = BUG_NONE;
	struct explore_plan plan = plan_for(t, &bug);

	explore_expect(t, &plan);
}

static void expect_finding(struct test *t, enum bug bug, const char *words)
{
	struct explore_plan plan = plan_for(t, &bug);
	struct explore_result result;

	EXPECT(t, explore_crashes(&plan, &result, &t->err));
	if (result.findings == 0 || !strstr(result.finding[0], words))
		test_fail(t, __FILE__, __LINE__, "wanted '%s', got '%s'", words,
		          result.finding[0]);
}

static void a_missing_sync_is_found(struct test *t)
{
	expect_finding(t, BUG_NO_SYNC, "commits were promised");
}

static void a_missing_directory_sync_is_found(struct test *t)
{
	expect_finding(t, BUG_NO_DIRECTORY_SYNC, "commits were promised");
}

static void a_missing_checksum_is_found(struct test *t)
{
	expect_finding(t, BUG_NO_CHECKSUM, "is torn");
}

static void a_promise_before_the_write_is_found(struct test *t)
{
	expect_finding(t, BUG_LATE_WRITE, "commits were promised");
}

/* Every first crash leaves this store well; its recovery is what loses. */
static void a_recovery_that_cannot_be_interrupted_is_found(struct test *t)
{
	enum bug bug = BUG_REWRITE;
	struct explore_plan plan = plan_for(t, &bug);
	struct explore_result result;

	expect_finding(t, BUG_REWRITE, "commits were promised");
	plan.recrash_every = 0;
	EXPECT(t, explore_crashes(&plan, &result, &t->err));
	EXPECT_EQ(t, result.findings, 0);
}

static void a_check_that_crashes_or_hangs_is_a_finding(struct test *t)
{
	expect_finding(t, BUG_CRASH, "killed by signal 6");
	expect_finding(t, BUG_HANG, "hangs for 1 s");
}

static void a_finding_can_be_played_alone(struct test *t)
{
	enum bug bug = BUG_NO_SYNC;
	struct explore_plan plan = plan_for(t, &bug);
	struct explore_result many, one;
	char state[100], *end;

	EXPECT(t, explore_crashes(&plan, &many, &t->err));
	EXPECT(t, many.findings > 0);
	end = strstr(many.finding[0], "EXPLORE_STATE=");
	EXPECT(t, end && sscanf(end, "EXPLORE_STATE=%99s", state) == 1);
	setenv("EXPLORE_STATE", state, 1);
	EXPECT(t, explore_crashes(&plan, &one, &t->err));
	unsetenv("EXPLORE_STATE");
	EXPECT_EQ(t, one.findings, 1);
	EXPECT_STR(t, one.finding[0], many.finding[0]);
}

/* The n-th traced call fails; the store must say so, or not have needed it. */
static int play_fault(void *context, uint64_t n, bool *reached, struct err *err)
{
	struct sim_fault fault = { .nth = n + 1, .code = ERR_IO,
		                   .call = SIM_CALL_WRITE };
	struct sim_disk *disk = sim_disk_create(NULL);
	int rc;

	sim_fault_add(disk, &fault);
	rc = work(context, disk, err);
	*reached = sim_fault_hits(disk) > 0;
	sim_disk_close(disk);
	if (*reached && !rc)
		return err_set(err, ERR_ABORT, "write", "log", "error ignored");
	return *reached ? ERR_NONE : rc;
}

static void variants_are_played_until_the_scenario_ends(struct test *t)
{
	enum bug bug = BUG_NONE;
	struct explore_variants variants = { .name = t->name, .play = play_fault,
		                             .context = &bug };
	struct explore_result result;

	EXPECT_EQ(t, explore_each(&variants, &result), 2 * COMMITS);
	EXPECT_EQ(t, result.findings, 0);
	explore_each_expect(t, &variants);
}

static const struct test_case cases[] = {
	CASE(a_correct_store_has_no_findings),
	CASE(a_missing_sync_is_found),
	CASE(a_missing_directory_sync_is_found),
	CASE(a_missing_checksum_is_found),
	CASE(a_promise_before_the_write_is_found),
	CASE(a_recovery_that_cannot_be_interrupted_is_found),
	CASE(a_check_that_crashes_or_hangs_is_a_finding),
	CASE(a_finding_can_be_played_alone),
	CASE(variants_are_played_until_the_scenario_ends),
};
TEST_MAIN(cases)
