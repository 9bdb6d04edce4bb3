/*
 * shared_test.c - what the processes of one log tell each other in shared memory.
 *
 * Everything here is a race that real processes lose once in a million: so the other
 * one does its part inside a call of ours, at the worst moment, in one thread.
 */
#include "test/support/scratch_log.h"

enum { ANOTHER = 5, A_THIRD = 6 };

#define ON_A_LOG(name)                                                        \
	TEST_WITH(name, struct scratch_log, log,                              \
	          scratch_open(t, log, 64 * 1024), scratch_close(log))

static uint64_t claim_of(uint32_t process, uint64_t count)
{
	return count << 32 | (process + 1);
}

/* The other one, and what was seen of us. */
static struct {
	struct os_methods methods;
	const struct os_methods *real;
	struct wal_shared *shared;
	unsigned waits, wait_in_vain;
	uint32_t asked_for;
	bool fail_sync;
} other;

static void meet_other(struct scratch_log *log)
{
	memset(&other, 0, sizeof other);
	other.real = log->os->methods;
	other.methods = *other.real;
	other.shared = log->shared;
}

static bool dies_and_is_replaced(void *context, uint32_t process)
{
	(void)context;
	other.asked_for = process;
	atomic_store(&other.shared->sync_claim.owner, claim_of(A_THIRD, 8));
	return false;
}

/* Between our look at who holds a claim, who is dead, and our taking it over, a third
 * one takes it over. (wal/place P2) */
ON_A_LOG(a_claim_taken_over_by_another_is_not_stolen)
{
	struct wal_claim *claim = &log->shared->sync_claim;

	meet_other(log);
	log->wal->options.process_lives = dies_and_is_replaced;
	atomic_store(&claim->owner, claim_of(ANOTHER, 7));
	EXPECT_EQ(t, wal_claim_take(log->wal, claim, true), 0);
	EXPECT_EQ(t, other.asked_for, ANOTHER);
	EXPECT_EQ(t, claim->owner, claim_of(A_THIRD, 8));
	atomic_store(&claim->owner, 0);
}

/* A leader whose sync took long learns that others have synced further. (wal/place P3) */
ON_A_LOG(the_durable_position_only_grows)
{
	wal_durable_raise(log->shared, 4096);
	wal_durable_raise(log->shared, 1024);
	EXPECT_EQ(t, log->shared->durable, 4096);
	wal_durable_raise(log->shared, 8192);
	EXPECT_EQ(t, log->shared->durable, 8192);
}

static void let_go_of_files(struct os *os, _Atomic uint32_t *word,
                            uint32_t expected, uint64_t timeout_us)
{
	(void)os, (void)word, (void)expected, (void)timeout_us;
	other.waits++;
	atomic_store(&other.shared->files_claim.owner, claim_of(0, 9) & ~UINT64_C(0xffffffff));
}

static bool lives(void *context, uint32_t process)
{
	(void)context, (void)process;
	return true;
}

/* Who needs the next segment waits while another one makes files. (wal/next N1) */
ON_A_LOG(files_are_made_by_one_at_a_time)
{
	meet_other(log);
	other.methods.wait = let_go_of_files;
	log->wal->options.process_lives = lives;
	scratch_methods(log, &other.methods);
	atomic_store(&log->shared->files_claim.owner, claim_of(ANOTHER, 8));
	EXPECT_OK(t, scratch_append(t, log, 60000, NULL));
	EXPECT_EQ(t, other.waits, 0);
	EXPECT_OK(t, wal_prepare(log->wal, &t->err)); /* another does it */
	EXPECT_EQ(t, log->shared->files_claim.owner, claim_of(ANOTHER, 8));
	EXPECT_OK(t, scratch_append(t, log, 60000, NULL));
	EXPECT_EQ(t, other.waits, 1);
	scratch_methods(log, NULL);
}

static int refuse_sync(struct os_file *file, struct err *err)
{
	return other.fail_sync ? err_set(err, ERR_IO, "sync", file->name,
	                                 "the test says no")
	                       : other.real->sync(file, err);
}

/* A process may have the file open that could not be made a segment. (wal/next N4) */
ON_A_LOG(a_number_is_given_once)
{
	meet_other(log);
	other.methods.sync = refuse_sync;
	scratch_methods(log, &other.methods);
	EXPECT_OK(t, scratch_append(t, log, 40000, NULL));
	other.fail_sync = true;
	EXPECT_ERR(t, wal_prepare(log->wal, &t->err), ERR_IO,
	           "sync wal/wal.000002");
	other.fail_sync = false;
	EXPECT_OK(t, scratch_append(t, log, 40000, NULL));
	EXPECT_EQ(t, log->shared->place[log->shared->place_sequence & 1].segment_no,
	          3);
	scratch_methods(log, NULL);
}

/* The clock is asked behind the look at the words: there one sync ends and another
 * leader begins the next. */
static uint64_t sync_ends_meanwhile(struct os *os)
{
	struct wal_shared *shared = other.shared;

	if (atomic_load(&shared->sync_claim.owner) == claim_of(ANOTHER, 1)) {
		uint32_t sync = atomic_fetch_add(&shared->sync_ended, 1);

		atomic_fetch_add(&shared->sync_words[sync & 1], 1);
		atomic_fetch_add(&shared->sync_words[(sync + 1) & 1], 1);
		atomic_store(&shared->sync_claim.owner, claim_of(A_THIRD, 2));
	}
	return other.real->monotonic_us(os);
}

/* Then that leader ends, too: nobody would wake us. */
static void wait_in_vain(struct os *os, _Atomic uint32_t *word,
                         uint32_t expected, uint64_t timeout_us)
{
	(void)os, (void)timeout_us;
	other.waits++;
	other.wait_in_vain += atomic_load(word) == expected;
	wal_durable_raise(other.shared, atomic_load(&other.shared->appended));
}

/* (wal/sync Y6) */
ON_A_LOG(who_looked_before_a_sync_ended_does_not_sleep_through_its_end)
{
	uint64_t end;

	meet_other(log);
	other.methods.monotonic_us = sync_ends_meanwhile;
	other.methods.wait = wait_in_vain;
	log->wal->options.process_lives = lives;
	EXPECT_OK(t, scratch_append(t, log, 100, &end));
	scratch_methods(log, &other.methods);
	atomic_store(&log->shared->sync_claim.owner, claim_of(ANOTHER, 1));
	EXPECT_OK(t, wal_sync(log->wal, end, &t->err));
	EXPECT_EQ(t, other.waits, 1);
	EXPECT_EQ(t, other.wait_in_vain, 0);
	scratch_methods(log, NULL);
}

static const struct test_case cases[] = {
	CASE(a_claim_taken_over_by_another_is_not_stolen),
	CASE(the_durable_position_only_grows),
	CASE(files_are_made_by_one_at_a_time),
	CASE(a_number_is_given_once),
	CASE(who_looked_before_a_sync_ended_does_not_sleep_through_its_end),
};
TEST_MAIN(cases)
