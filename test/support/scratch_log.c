/*
 * scratch_log.c - a log in a fresh directory, for tests.
 */
#define _GNU_SOURCE
#include "test/support/scratch_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static bool open_log(struct test *t, struct scratch_log *log)
{
	int rc = wal_open(log->dir, &log->heap, log->shared, &log->options,
	                  &log->wal, &t->err);

	if (rc)
		test_fail(t, __FILE__, __LINE__, "wal_open: %s", t->err.text);
	return !rc;
}

bool scratch_open(struct test *t, struct scratch_log *log,
                  uint64_t segment_size)
{
	memset(log, 0, sizeof *log);
	test_directory(t, log->path);
	heap_init(&log->heap);
	log->options.segment_size = segment_size;
	log->options.mode = 0600;
	log->options.database = UINT64_C(0x1122334455667788);
	log->shared = mmap(NULL, sizeof *log->shared, PROT_READ | PROT_WRITE,
	                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (os_posix_open(&log->heap, &log->os, &t->err) ||
	    log->os->methods->directory_open(log->os, log->path, &log->dir,
	                                     &t->err)) {
		test_fail(t, __FILE__, __LINE__, "open: %s", t->err.text);
		return false;
	}
	log->own_methods = log->os->methods;
	if (!open_log(t, log))
		return false;
	if (wal_start(log->wal, 0, &t->err)) {
		test_fail(t, __FILE__, __LINE__, "wal_start: %s", t->err.text);
		return false;
	}
	return true;
}

void scratch_close(struct scratch_log *log)
{
	wal_close(log->wal);
	os_close(log->dir);
	os_posix_close(log->os);
	munmap(log->shared, sizeof *log->shared);
	if (log->heap.used)
		abort();
}

bool scratch_restart(struct test *t, struct scratch_log *log)
{
	wal_close(log->wal);
	memset(log->shared, 0, sizeof *log->shared);
	return open_log(t, log);
}

void scratch_fill(uint8_t *bytes, size_t size, uint64_t number)
{
	uint64_t state = number;

	for (size_t i = 0; i + 8 <= size; i += 8)
		store_le64(bytes + i, i ? test_random(&state) : number);
	memset(bytes + size / 8 * 8, 0x5a, size % 8);
}

int scratch_append(struct test *t, struct scratch_log *log, size_t size,
                   uint64_t *end)
{
	uint8_t *bytes = malloc(size);
	struct span spans[3];
	size_t third = size / 3;
	uint64_t ignored;
	int rc;

	scratch_fill(bytes, size, log->appended_count);
	spans[0] = span_of(bytes, third);
	spans[1] = span_of(bytes + third, third);
	spans[2] = span_of(bytes + 2 * third, size - 2 * third);
	rc = wal_append(log->wal, spans, 3, end ? end : &ignored, &t->err);
	free(bytes);
	if (!rc)
		log->appended_count++;
	return rc;
}

int scratch_check_record(void *context, uint64_t lsn, struct span payload,
                         struct err *err)
{
	struct scratch_log *log = context;
	uint8_t *bytes = malloc(payload.size + 8);

	(void)lsn, (void)err;
	scratch_fill(bytes, payload.size, log->replay_next);
	if (payload.size < 8 || memcmp(bytes, payload.data, payload.size) != 0)
		log->replay_wrong = true;
	free(bytes);
	log->replay_next++;
	log->replay_count++;
	return ERR_NONE;
}

/* Which records there were, whatever their order. */
struct sum {
	uint64_t count, lsns;
};

static int sum_record(void *context, uint64_t lsn, struct span payload,
                      struct err *err)
{
	struct sum *sum = context;

	(void)payload, (void)err;
	sum->count++;
	sum->lsns += (lsn + 1) * lsn;
	return ERR_NONE;
}

/* Reads it in parts, the last one first. False: one of them says nothing. */
static bool sum_parts(struct wal_history *history, uint32_t parts,
                      struct sum *sum, uint64_t *end, int *rc)
{
	struct sum each[WAL_PARTS_MAX] = { 0 };
	enum wal_joint joint = WAL_JOINT_HOLDS;
	struct err err;
	uint32_t i;

	for (i = parts; i-- > 0;)
		if (wal_history_read_part(history, i, sum_record, &each[i], &err) &&
		    i == 0)
			return false;
	*sum = each[0];
	for (i = 1; i < parts; i++) {
		joint = wal_history_joint(history, i);
		if (joint != WAL_JOINT_HOLDS)
			break;
		sum->count += each[i].count;
		sum->lsns += each[i].lsns;
	}
	*rc = wal_history_end(history, i - 1, end, &err);
	return joint != WAL_JOINT_BROKEN;
}

/* Parts that are sure of themselves say what the whole says. */
static void compare_parts(struct test *t, struct scratch_log *log,
                          uint64_t from, uint32_t most)
{
	struct wal_history *history;
	struct sum whole = { 0 }, sum;
	uint64_t whole_end = 0, end = 0;
	struct err err;
	uint32_t parts;
	int whole_rc, rc;

	if (wal_history_open(log->wal, from, &history, &err))
		return;
	whole_rc = wal_history_read(history, sum_record, &whole, &whole_end,
	                            &err);
	parts = wal_history_part(history, most, 1);
	if (parts > 1 && sum_parts(history, parts, &sum, &end, &rc) &&
	    (rc != whole_rc || sum.count != whole.count ||
	     sum.lsns != whole.lsns || end != whole_end))
		test_fail(t, __FILE__, __LINE__, "%u parts are not the whole: %s for %s, "
		          "%llu records for %llu", parts, err_name(rc),
		          err_name(whole_rc), (unsigned long long)sum.count,
		          (unsigned long long)whole.count);
	wal_history_close(history);
}

int scratch_replay(struct test *t, struct scratch_log *log, uint64_t from,
                   uint64_t first)
{
	int rc;

	if (log->os->methods == log->own_methods && !log->heap.fail_in)
		for (uint32_t most = 2; most <= WAL_PARTS_MAX; most++)
			compare_parts(t, log, from, most);

	log->replay_next = first;
	log->replay_count = 0;
	log->replay_wrong = false;
	rc = wal_replay(log->wal, from, scratch_check_record, log,
	                &log->replay_end, &t->err);
	if (!rc && log->replay_wrong)
		test_fail(t, __FILE__, __LINE__, "a record has wrong bytes");
	return rc;
}

void scratch_file(struct scratch_log *log, const char *name, char path[512])
{
	snprintf(path, 512, "%s/%s", log->path, name);
}

static int open_file(struct scratch_log *log, uint32_t no)
{
	char name[WAL_NAME_SIZE], path[512];

	wal_segment_name(name, no);
	scratch_file(log, name, path);
	return open(path, O_RDWR | O_CLOEXEC);
}

void scratch_peek(struct scratch_log *log, uint32_t no, uint64_t offset,
                  void *bytes, size_t size)
{
	int file = open_file(log, no);

	if (pread(file, bytes, size, (off_t)offset) != (ssize_t)size)
		abort();
	close(file);
}

void scratch_poke(struct scratch_log *log, uint32_t no, uint64_t offset,
                  const void *bytes, size_t size)
{
	int file = open_file(log, no);

	if (pwrite(file, bytes, size, (off_t)offset) != (ssize_t)size)
		abort();
	close(file);
}

void scratch_flip(struct scratch_log *log, uint32_t no, uint64_t offset)
{
	uint8_t byte;

	scratch_peek(log, no, offset, &byte, 1);
	byte ^= 0x10;
	scratch_poke(log, no, offset, &byte, 1);
}

void scratch_methods(struct scratch_log *log, const struct os_methods *methods)
{
	log->os->methods = methods ? methods : log->own_methods;
}
