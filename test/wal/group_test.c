/*
 * group_test.c - many who wait share a sync; who is killed is replaced; a sync
 * that fails poisons the log for all.
 */
#define _GNU_SOURCE
#include "test/support/scratch_log.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES_MAX = 8, RECORD_SIZE = 200 };

/* What the processes of a test share beside the log: a writer lock that the
 * test itself takes back from the dead, and who lives. */
struct arena_of_writers {
	struct wal_shared shared;
	_Atomic uint32_t writer;              /* 0, or process + 1 */
	_Atomic uint32_t alive[PROCESSES_MAX];
	_Atomic uint64_t acknowledged[PROCESSES_MAX];
	_Atomic uint64_t next_number;
	_Atomic uint32_t stop;
};

static bool lives(void *context, uint32_t process)
{
	struct arena_of_writers *arena = context;

	return atomic_load(&arena->alive[process]) != 0;
}

static struct arena_of_writers *share(struct scratch_log *log)
{
	struct arena_of_writers *arena =
		mmap(NULL, sizeof *arena, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	memcpy(&arena->shared, log->shared, sizeof arena->shared);
	for (int i = 0; i < PROCESSES_MAX; i++)
		atomic_store(&arena->alive[i], 1);
	return arena;
}

/* Methods with which a sync takes a millisecond more, so that others come while
 * it runs, however busy the machine; and wakes are counted. */
static struct {
	struct os_methods methods;
	const struct os_methods *real;
	const struct wal_shared *shared;
	_Atomic uint64_t wakes_of_all, wakes_of_next, wakes_of_arrivals;
} slow;

static int slow_sync(struct os_file *file, struct err *err)
{
	usleep(1000);
	return slow.real->sync(file, err);
}

static void count_wake(struct os *os, _Atomic uint32_t *word, uint32_t count)
{
	if (word == &slow.shared->sync_words[0] ||
	    word == &slow.shared->sync_words[1])
		atomic_fetch_add(count == 1 ? &slow.wakes_of_next
		                            : &slow.wakes_of_all, 1);
	if (word == &slow.shared->sync_arrivals)
		atomic_fetch_add(&slow.wakes_of_arrivals, 1);
	slow.real->wake(os, word, count);
}

static void make_slow(struct os *os, const struct wal_shared *shared)
{
	slow.real = os->methods;
	slow.shared = shared;
	slow.methods = *os->methods;
	slow.methods.sync = slow_sync;
	slow.methods.wake = count_wake;
	os->methods = &slow.methods;
}

struct writer {
	struct scratch_log *log;
	struct arena_of_writers *arena;
	struct heap heap;
	struct os *os;
	struct os_file *dir;
	struct wal *wal;
	uint32_t process;
	struct err err;
};

static int open_writer(struct writer *writer)
{
	struct wal_options options = writer->log->options;
	int rc;

	options.process = writer->process;
	options.process_lives = lives;
	options.context = writer->arena;
	heap_init(&writer->heap);
	rc = os_posix_open(&writer->heap, &writer->os, &writer->err);
	if (!rc)
		rc = writer->os->methods->directory_open(
			writer->os, writer->log->path, &writer->dir,
			&writer->err);
	if (!rc)
		rc = wal_open(writer->dir, &writer->heap,
		              &writer->arena->shared, &options, &writer->wal,
		              &writer->err);
	return rc;
}

static void close_writer(struct writer *writer)
{
	wal_close(writer->wal);
	os_close(writer->dir);
	os_posix_close(writer->os);
}

static int count_record(void *context, uint64_t lsn, struct span payload,
                        struct err *err)
{
	uint64_t *count = context;

	(void)lsn, (void)payload, (void)err;
	(*count)++;
	return ERR_NONE;
}

/* The dead may not have come to counting its record: count them all. */
static int finish_for_the_dead(struct writer *writer)
{
	uint64_t found = 0, count = 0, end;
	int rc;

	rc = wal_scan_tail(writer->wal, count_record, &found, &writer->err);
	if (!rc)
		rc = wal_replay(writer->wal, 0, count_record, &count, &end,
		                &writer->err);
	if (!rc)
		atomic_store(&writer->arena->next_number, count);
	return rc;
}

static int lock_writer(struct writer *writer)
{
	struct arena_of_writers *arena = writer->arena;

	for (unsigned round = 0;; round++) {
		uint32_t owner = 0;

		if (atomic_compare_exchange_strong(&arena->writer, &owner,
		                                   writer->process + 1))
			return ERR_NONE;
		if (!lives(arena, owner - 1) &&
		    atomic_compare_exchange_strong(&arena->writer, &owner,
		                                   writer->process + 1))
			return finish_for_the_dead(writer);
		if (round % 16 == 15)
			usleep(20);
	}
}

/* One durable commit. Its number is the number of records before it. */
static int commit(struct writer *writer, uint64_t *end)
{
	struct arena_of_writers *arena = writer->arena;
	uint8_t bytes[RECORD_SIZE] = { 0 };
	struct span payload = span_of(bytes, sizeof bytes);
	uint64_t number;
	int rc;

	rc = lock_writer(writer);
	if (rc)
		return rc;
	number = atomic_load(&arena->next_number);
	scratch_fill(bytes, sizeof bytes, number);
	rc = wal_append(writer->wal, &payload, 1, end, &writer->err);
	if (!rc)
		atomic_store(&arena->next_number, number + 1);
	atomic_store(&arena->writer, 0);
	if (!rc)
		rc = wal_sync(writer->wal, *end, &writer->err);
	if (!rc)
		rc = wal_prepare(writer->wal, &writer->err);
	return rc;
}

static int run_writer(struct scratch_log *log, struct arena_of_writers *arena,
                      uint32_t process, uint64_t count)
{
	struct writer writer = { .log = log, .arena = arena,
		                 .process = process };
	uint64_t end;
	int rc = open_writer(&writer);

	if (count < UINT64_MAX)
		make_slow(writer.os, &arena->shared);
	for (uint64_t i = 0; i < count && !rc && !atomic_load(&arena->stop);
	     i++) {
		rc = commit(&writer, &end);
		if (!rc && atomic_load(&arena->shared.durable) < end)
			rc = ERR_INVALID;
		if (!rc)
			atomic_store(&arena->acknowledged[process], end);
	}
	if (rc)
		printf("note writer %u: %s\n", process, writer.err.text);
	close_writer(&writer);
	return rc;
}

static pid_t fork_writer(struct scratch_log *log,
                         struct arena_of_writers *arena, uint32_t process,
                         uint64_t count)
{
	pid_t child = fork();

	if (child)
		return child;
	_exit(run_writer(log, arena, process, count));
}

/* All records are there, and none that was acknowledged is missing. */
static void check_log(struct test *t, struct scratch_log *log,
                      struct arena_of_writers *arena)
{
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, atomic_load(&arena->next_number));
	for (int i = 0; i < PROCESSES_MAX; i++)
		EXPECT(t, atomic_load(&arena->acknowledged[i]) <=
		       log->replay_end);
}

static void processes_share_their_syncs(struct test *t)
{
	struct scratch_log log;
	struct arena_of_writers *arena;
	uint64_t count = test_scaled(100, 30);
	pid_t children[6];
	int status;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	arena = share(&log);
	for (uint32_t i = 0; i < 6; i++)
		children[i] = fork_writer(&log, arena, i, count);
	for (int i = 0; i < 6; i++) {
		waitpid(children[i], &status, 0);
		EXPECT(t, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	EXPECT_EQ(t, arena->shared.record_count, 6 * count);
	EXPECT_EQ(t, arena->shared.durable, arena->shared.appended);
	EXPECT(t, arena->shared.sync_count < 6 * count);
	check_log(t, &log, arena);
	munmap(arena, sizeof *arena);
	scratch_close(&log);
}

struct thread_job {
	struct writer *writer;
	uint64_t count;
	pthread_mutex_t *mutex;
	int rc;
};

static void *run_thread(void *context)
{
	struct thread_job *job = context;
	struct writer *writer = job->writer;
	struct arena_of_writers *arena = writer->arena;
	uint8_t bytes[RECORD_SIZE] = { 0 };
	struct span payload = span_of(bytes, sizeof bytes);
	struct err err;
	uint64_t end;

	for (uint64_t i = 0; i < job->count && !job->rc; i++) {
		pthread_mutex_lock(job->mutex);
		scratch_fill(bytes, sizeof bytes, arena->next_number);
		job->rc = wal_append(writer->wal, &payload, 1, &end, &err);
		arena->next_number++;
		pthread_mutex_unlock(job->mutex);
		if (!job->rc)
			job->rc = wal_sync(writer->wal, end, &err);
		if (!job->rc)
			job->rc = wal_prepare(writer->wal, &err);
	}
	return NULL;
}

/* Nobody only wakes up because its patience has ended: waiters are woken by the
 * leader, the next leader by the last, a leader that gathers by the last who arrives. */
static void threads_share_their_syncs(struct test *t)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	uint64_t count = test_scaled(100, 30);
	struct scratch_log log;
	struct writer writer = { .log = &log };
	struct thread_job jobs[6];
	pthread_t threads[6];

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	writer.arena = share(&log);
	EXPECT_OK(t, open_writer(&writer));
	make_slow(writer.os, &writer.arena->shared);
	for (int i = 0; i < 6; i++) {
		jobs[i] = (struct thread_job){ &writer, count, &mutex, 0 };
		pthread_create(&threads[i], NULL, run_thread, &jobs[i]);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(t, jobs[i].rc, 0);
	}
	EXPECT(t, writer.arena->shared.sync_count < 6 * count);
	EXPECT(t, slow.wakes_of_all > 0);
	EXPECT(t, slow.wakes_of_next > 0);
	EXPECT(t, slow.wakes_of_arrivals > 0);
	EXPECT_EQ(t, writer.arena->shared.durable,
	          writer.arena->shared.appended);
	close_writer(&writer);
	check_log(t, &log, writer.arena);
	munmap(writer.arena, sizeof *writer.arena);
	scratch_close(&log);
}

/* Killed anywhere: in an append, leading a sync, making a segment. */
static void killed_writers_lose_nothing(struct test *t)
{
	uint64_t kills = test_scaled(60, 10);
	struct scratch_log log;
	struct arena_of_writers *arena;
	uint64_t state = t->seed, before;
	pid_t children[4];
	int status;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	arena = share(&log);
	for (uint32_t i = 0; i < 4; i++)
		children[i] = fork_writer(&log, arena, i, UINT64_MAX);
	for (uint64_t i = 0; i < kills; i++) {
		uint32_t victim = (uint32_t)(test_random(&state) % 4);

		usleep((useconds_t)(test_random(&state) % 20000));
		kill(children[victim], SIGKILL);
		waitpid(children[victim], &status, 0);
		EXPECT(t, WIFSIGNALED(status));
		atomic_store(&arena->alive[victim], 0);
		usleep((useconds_t)(test_random(&state) % 5000));
		atomic_store(&arena->alive[victim], 1);
		children[victim] = fork_writer(&log, arena, victim,
		                               UINT64_MAX);
	}
	before = atomic_load(&arena->shared.durable);
	usleep(200000);
	EXPECT(t, atomic_load(&arena->shared.durable) > before);
	atomic_store(&arena->stop, 1);
	for (int i = 0; i < 4; i++) {
		waitpid(children[i], &status, 0);
		EXPECT(t, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	check_log(t, &log, arena);
	munmap(arena, sizeof *arena);
	scratch_close(&log);
}

/* (wal/sync Y4) */
static void a_dead_sync_leader_is_replaced(struct test *t)
{
	struct scratch_log log;
	struct arena_of_writers *arena;
	struct writer writer = { .log = &log, .process = 0 };
	uint64_t end;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	arena = writer.arena = share(&log);
	EXPECT_OK(t, open_writer(&writer));
	atomic_store(&arena->alive[3], 0);
	for (int i = 0; i < 3; i++) {
		atomic_store(&arena->shared.sync_claim.owner,
		             ((uint64_t)i + 1) << 40 | 4);
		EXPECT_OK(t, commit(&writer, &end));
		EXPECT(t, arena->shared.durable >= end);
	}
	close_writer(&writer);
	munmap(arena, sizeof *arena);
	scratch_close(&log);
}

/* A process that gets the index of a dead one does not wait for itself. (rule 8) */
static void claims_of_an_earlier_process_end_with_its_index(struct test *t)
{
	struct scratch_log log;
	struct writer writer = { .log = &log, .process = 3 };
	uint64_t end;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	writer.arena = share(&log);
	atomic_store(&writer.arena->shared.sync_claim.owner, 4);
	atomic_store(&writer.arena->shared.files_claim.owner, 4);
	EXPECT_OK(t, open_writer(&writer));
	EXPECT_OK(t, commit(&writer, &end));
	for (int i = 0; i < 300; i++)
		EXPECT_OK(t, commit(&writer, &end));
	close_writer(&writer);
	munmap(writer.arena, sizeof *writer.arena);
	scratch_close(&log);
}

/* A file made for the next segment by somebody who died before he said so. (wal/next
 * N2) */
static void a_segment_made_by_the_dead_is_taken(struct test *t)
{
	struct scratch_log log;
	struct wal_shared before;
	struct wal_list list;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
	memcpy(&before, log.shared, sizeof before);
	EXPECT_OK(t, wal_prepare(log.wal, &t->err));
	before.last_no = log.shared->last_no;
	memcpy(log.shared, &before, sizeof before);
	for (int i = 0; i < 5; i++)
		EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
	EXPECT_OK(t, wal_list_read(log.wal, &list, &t->err));
	for (size_t i = 1; i < list.valid_count; i++)
		EXPECT_EQ(t, list.items[i].first, list.items[i - 1].end);
	EXPECT_EQ(t, list.valid_count, 6);
	wal_list_close(log.wal, &list);
	EXPECT(t, scratch_restart(t, &log));
	EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
	EXPECT_EQ(t, log.replay_count, 6);
	scratch_close(&log);
}

/* Methods that fail when told. */
static struct {
	struct os_methods methods;
	const struct os_methods *real;
	_Atomic int fail_sync, fail_write, write_anyway;
	unsigned fail_sync_at; /* only the n-th of a segment */
	struct scratch_log *append_in_sync;
	uint64_t synced; /* segments, by number */
} faulty;

static int faulty_sync(struct os_file *file, struct err *err)
{
	if (atomic_load(&faulty.fail_sync) ||
	    (faulty.fail_sync_at && --faulty.fail_sync_at == 0))
		return err_set(err, ERR_IO, "sync", file->name,
		               "the test says no");
	if (strncmp(file->name, "wal/wal.", 8) == 0)
		faulty.synced |= UINT64_C(1) << strtoul(file->name + 8, NULL, 10);
	if (faulty.append_in_sync) {
		struct test ignored;
		struct scratch_log *log = faulty.append_in_sync;

		faulty.append_in_sync = NULL;
		if (scratch_append(&ignored, log, 100, NULL))
			abort();
	}
	return faulty.real->sync(file, err);
}

static int faulty_write(struct os_file *file, uint64_t offset,
                        const struct span *spans, size_t span_count,
                        struct err *err)
{
	int left = atomic_load(&faulty.fail_write);

	if (left == 0)
		return faulty.real->write(file, offset, spans, span_count, err);
	if (left > 0)
		atomic_store(&faulty.fail_write, left - 1);
	if (atomic_load(&faulty.write_anyway))
		faulty.real->write(file, offset, spans, span_count, err);
	return err_set(err, ERR_IO, "write", file->name, "the test says no");
}

static void make_faulty(struct scratch_log *log)
{
	memset(&faulty, 0, sizeof faulty);
	faulty.real = log->os->methods;
	faulty.methods = *faulty.real;
	faulty.methods.sync = faulty_sync;
	faulty.methods.write = faulty_write;
	scratch_methods(log, &faulty.methods);
}

/* (wal/sync Y3, rule 9) */
static void a_failed_sync_poisons_the_log(struct test *t)
{
	struct scratch_log log;
	uint64_t good, end;

	if (!scratch_open(t, &log, 0))
		return;
	EXPECT_OK(t, scratch_append(t, &log, 100, &good));
	EXPECT_OK(t, wal_sync(log.wal, good, &t->err));
	EXPECT_OK(t, scratch_append(t, &log, 100, &end));
	make_faulty(&log);
	faulty.fail_sync = 1;
	EXPECT_ERR(t, wal_sync(log.wal, end, &t->err), ERR_OUTCOME,
	           "sync the log: sync wal/wal.000001: the test says no; what "
	           "was committed last may be lost");
	faulty.fail_sync = 0;
	/* Never tried again, though it would succeed now. */
	EXPECT_ERR(t, wal_sync(log.wal, end, &t->err), ERR_OUTCOME,
	           "a sync of it failed");
	EXPECT_EQ(t, log.shared->durable, good);
	EXPECT_OK(t, wal_sync(log.wal, good, &t->err));
	EXPECT_ERR(t, scratch_append(t, &log, 100, &end), ERR_POISONED,
	           "a sync failed earlier");
	EXPECT_ERR(t, wal_drop_before(log.wal, good, &t->err), ERR_POISONED,
	           "a sync failed earlier");
	EXPECT_OK(t, wal_prepare(log.wal, &t->err));
	scratch_close(&log);
}

/* Whichever of the segments that nobody had synced: none of its commits is durable, and
 * those behind it are not either. (wal/sync Y2, wal/sync Y3) */
static void a_failed_sync_of_any_segment_poisons_the_log(struct test *t)
{
	for (unsigned crossed = 1; crossed <= 3; crossed++)
		for (unsigned n = 1; n <= crossed + 1; n++) {
			struct scratch_log log;
			uint64_t good, end = 0;

			if (!scratch_open(t, &log, 64 * 1024))
				return;
			EXPECT_OK(t, scratch_append(t, &log, 100, &good));
			EXPECT_OK(t, wal_sync(log.wal, good, &t->err));
			for (unsigned i = 0; i < crossed; i++)
				EXPECT_OK(t, scratch_append(t, &log, 50000,
				                            &end));
			EXPECT_OK(t, scratch_append(t, &log, 20000, &end));
			EXPECT_EQ(t, log.shared->last_no, crossed + 1);
			make_faulty(&log);
			faulty.fail_sync_at = n;
			EXPECT_ERR(t, wal_sync(log.wal, end, &t->err),
			           ERR_OUTCOME, "the test says no");
			EXPECT(t, log.shared->failed);
			EXPECT_EQ(t, log.shared->durable, good);
			EXPECT_ERR(t, wal_sync(log.wal, end, &t->err),
			           ERR_OUTCOME, "a sync of it failed");
			scratch_close(&log);
		}
}

struct waiter {
	struct scratch_log *log;
	uint64_t lsn;
	int rc;
};

static void *wait_in_thread(void *context)
{
	struct waiter *waiter = context;
	struct err err;

	waiter->rc = wal_sync(waiter->log->wal, waiter->lsn, &err);
	return NULL;
}

/* (rule 9) */
static void everyone_who_waits_learns_of_a_failed_sync(struct test *t)
{
	struct scratch_log log;
	struct waiter waiters[8];
	pthread_t threads[8];

	if (!scratch_open(t, &log, 0))
		return;
	for (int i = 0; i < 8; i++) {
		waiters[i].log = &log;
		EXPECT_OK(t, scratch_append(t, &log, 100, &waiters[i].lsn));
	}
	make_faulty(&log);
	faulty.fail_sync = 1;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, wait_in_thread, &waiters[i]);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(t, waiters[i].rc, ERR_OUTCOME);
	}
	EXPECT_EQ(t, log.shared->durable, 0);
	scratch_close(&log);
}

/* The write says no but was done, or half done: the record must not be there
 * when the log is read back, for the commit was told that it failed. (wal/record A2,
 * rule 1) */
static void a_failed_append_leaves_no_record(struct test *t)
{
	static const size_t sizes[] = { 100, 10000 };

	for (int anyway = 0; anyway < 2; anyway++)
		for (int i = 0; i < 2; i++) {
			struct scratch_log log;
			uint64_t end;

			if (!scratch_open(t, &log, 0))
				return;
			EXPECT_OK(t, scratch_append(t, &log, 100, &end));
			make_faulty(&log);
			faulty.fail_write = 1;
			faulty.write_anyway = anyway;
			EXPECT_ERR(t, scratch_append(t, &log, sizes[i], NULL),
			           ERR_IO, "write wal/wal.000001: the test");
			EXPECT_EQ(t, log.shared->appended, end);
			EXPECT_OK(t, wal_scan_tail(log.wal,
			                           scratch_check_record, &log,
			                           &t->err));
			EXPECT_EQ(t, log.shared->appended, end);
			EXPECT_OK(t, scratch_append(t, &log, 50, NULL));
			EXPECT(t, scratch_restart(t, &log));
			EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
			EXPECT_EQ(t, log.replay_count, 2);
			scratch_close(&log);
		}
}

static void a_failed_append_that_cannot_be_taken_back_poisons(struct test *t)
{
	struct scratch_log log;
	uint64_t end;

	if (!scratch_open(t, &log, 0))
		return;
	make_faulty(&log);
	faulty.fail_write = 2;
	EXPECT_ERR(t, scratch_append(t, &log, 100, &end), ERR_OUTCOME,
	           "take back a failed append");
	EXPECT_ERR(t, scratch_append(t, &log, 100, &end), ERR_POISONED,
	           "append to the log");
	scratch_close(&log);
}

/* A disk that is full or broken when the next segment is made: the log goes on
 * in the one it has, and the file is gone. */
static void a_segment_that_cannot_be_made_is_no_harm(struct test *t)
{
	struct scratch_log log;
	struct wal_list list;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
	make_faulty(&log);
	faulty.fail_sync = 1;
	EXPECT_ERR(t, wal_prepare(log.wal, &t->err), ERR_IO,
	           "sync wal/wal.000002");
	EXPECT_OK(t, wal_list_read(log.wal, &list, &t->err));
	EXPECT_EQ(t, list.count, 1);
	wal_list_close(log.wal, &list);
	EXPECT_OK(t, wal_prepare(log.wal, &t->err));
	EXPECT_OK(t, scratch_append(t, &log, 10000, NULL));
	EXPECT_ERR(t, scratch_append(t, &log, 20000, NULL), ERR_IO,
	           "the test says no");
	EXPECT_EQ(t, log.shared->failed, 0);
	faulty.fail_sync = 0;
	EXPECT_OK(t, scratch_append(t, &log, 20000, NULL));
	EXPECT(t, scratch_restart(t, &log));
	EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
	EXPECT_EQ(t, log.replay_count, 3);
	scratch_close(&log);
}

/* A prepared segment that has to be made larger, in vain: it is not entered. */
static void a_segment_that_cannot_be_made_larger_is_made_anew(struct test *t)
{
	struct scratch_log log;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
	EXPECT_OK(t, wal_prepare(log.wal, &t->err));
	make_faulty(&log);
	faulty.fail_sync = 1;
	EXPECT_ERR(t, scratch_append(t, &log, 200000, NULL), ERR_IO,
	           "sync wal/wal.000002");
	faulty.fail_sync = 0;
	EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
	EXPECT_OK(t, scratch_append(t, &log, 200000, NULL));
	EXPECT(t, scratch_restart(t, &log));
	EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
	EXPECT_EQ(t, log.replay_count, 3);
	scratch_close(&log);
}

/* It may be on disk by chance, but the sync did not promise it. (wal/sync Y1) */
static void what_is_appended_during_a_sync_is_not_durable(struct test *t)
{
	struct scratch_log log;
	uint64_t end;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	make_faulty(&log);
	EXPECT_OK(t, scratch_append(t, &log, 100, &end));
	faulty.append_in_sync = &log;
	EXPECT_OK(t, wal_sync(log.wal, end, &t->err));
	EXPECT(t, log.shared->appended > end);
	EXPECT_EQ(t, log.shared->durable, end);
	scratch_close(&log);
}

/* synchronous=OFF for a long time, then FULL: all that went before is synced
 * first. (wal/sync Y2, rule 7) */
static void a_sync_covers_segments_that_nobody_synced(struct test *t)
{
	struct scratch_log log;
	struct wal_list list;

	if (!scratch_open(t, &log, 64 * 1024))
		return;
	for (int i = 0; i < 100; i++)
		EXPECT_OK(t, scratch_append(t, &log, 10000, NULL));
	EXPECT_EQ(t, log.shared->durable, 0);
	make_faulty(&log);
	EXPECT_OK(t, wal_sync(log.wal, log.shared->appended, &t->err));
	EXPECT_EQ(t, log.shared->durable, log.shared->appended);
	EXPECT_OK(t, wal_list_read(log.wal, &list, &t->err));
	EXPECT(t, list.valid_count > 10);
	for (size_t i = 0; i < list.valid_count; i++)
		EXPECT(t, faulty.synced >> list.items[i].no & 1);
	wal_list_close(log.wal, &list);
	scratch_close(&log);
}

static const struct test_case cases[] = {
	CASE(processes_share_their_syncs),
	CASE(threads_share_their_syncs),
	CASE(killed_writers_lose_nothing),
	CASE(a_dead_sync_leader_is_replaced),
	CASE(claims_of_an_earlier_process_end_with_its_index),
	CASE(a_segment_made_by_the_dead_is_taken),
	CASE(a_failed_sync_poisons_the_log),
	CASE(a_failed_sync_of_any_segment_poisons_the_log),
	CASE(everyone_who_waits_learns_of_a_failed_sync),
	CASE(a_failed_append_leaves_no_record),
	CASE(a_failed_append_that_cannot_be_taken_back_poisons),
	CASE(a_segment_that_cannot_be_made_is_no_harm),
	CASE(a_segment_that_cannot_be_made_larger_is_made_anew),
	CASE(what_is_appended_during_a_sync_is_not_durable),
	CASE(a_sync_covers_segments_that_nobody_synced),
};
TEST_MAIN(cases)
