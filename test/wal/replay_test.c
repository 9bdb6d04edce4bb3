/*
 * replay_test.c - what reading the log back promises: nothing written, the same each
 * time, nothing of a later line.
 */
#define _GNU_SOURCE
#include "test/support/scratch_log.h"

#include <unistd.h>

#define ON_A_LOG(name)                                                        \
	TEST_WITH(name, struct scratch_log, log,                              \
	          scratch_open(t, log, 64 * 1024), scratch_close(log))

static const struct os_methods *real;
static unsigned changes;

static int refuse(struct err *err)
{
	changes++;
	return err_set(err, ERR_IO, "change", "the log", "it is only read");
}

static int refuse_write(struct os_file *file, uint64_t offset,
                        const struct span *spans, size_t span_count,
                        struct err *err)
{
	(void)file, (void)offset, (void)spans, (void)span_count;
	return refuse(err);
}

static int refuse_sync(struct os_file *file, struct err *err)
{
	(void)file;
	return refuse(err);
}

static int refuse_directory_sync(struct os_file *dir, const char *name,
                                 struct err *err)
{
	(void)dir, (void)name;
	return refuse(err);
}

static int refuse_truncate(struct os_file *file, uint64_t bytes, struct err *err)
{
	(void)file, (void)bytes;
	return refuse(err);
}

static int refuse_allocate(struct os_file *file, uint64_t offset, uint64_t size,
                           struct err *err)
{
	(void)file, (void)offset, (void)size;
	return refuse(err);
}

static int refuse_unlink(struct os_file *dir, const char *name, struct err *err)
{
	(void)dir, (void)name;
	return refuse(err);
}

static int open_reading(struct os_file *dir, const char *name, unsigned flags,
                        uint32_t mode, struct os_file **file, struct err *err)
{
	changes += (flags & (OS_OPEN_WRITE | OS_OPEN_CREATE)) != 0;
	return real->open(dir, name, flags, mode, file, err);
}

/* Three segments, the last record torn. */
static bool make_torn(struct test *t, struct scratch_log *log, uint64_t *end)
{
	struct wal_position position;

	for (int i = 0; i < 14; i++) {
		if (scratch_append(t, log, 10000, i == 12 ? end : NULL)) {
			test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
			return false;
		}
	}
	wal_position_read(log->shared, &position);
	scratch_flip(log, position.segment_no,
	             wal_segment_offset(position.segment_first,
	                                position.appended) - 100);
	return scratch_restart(t, log);
}

/* A torn tail, too, stays as it is: the next opening finds the same. (wal/replay L1) */
ON_A_LOG(reading_back_changes_nothing)
{
	struct os_methods methods;
	uint64_t end;

	EXPECT(t, make_torn(t, log, &end));
	real = log->os->methods;
	methods = *real;
	methods.write = refuse_write;
	methods.sync = refuse_sync;
	methods.directory_sync = refuse_directory_sync;
	methods.truncate = refuse_truncate;
	methods.allocate = refuse_allocate;
	methods.unlink = refuse_unlink;
	methods.open = open_reading;
	changes = 0;
	scratch_methods(log, &methods);
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	scratch_methods(log, NULL);
	EXPECT_EQ(t, changes, 0);
	EXPECT_EQ(t, log->replay_count, 13);
	EXPECT_EQ(t, log->replay_end, end);
}

/* A recovery that lacks memory follows the log several times. (wal/replay L2) */
ON_A_LOG(reading_again_gives_the_same_records_and_the_same_end)
{
	struct wal_history *history;
	uint64_t end, found;

	EXPECT(t, make_torn(t, log, &end));
	EXPECT_OK(t, wal_history_open(log->wal, 0, &history, &t->err));
	for (int i = 0; i < 3; i++) {
		log->replay_next = log->replay_count = 0;
		EXPECT_OK(t, wal_history_read(history, scratch_check_record, log,
		                              &found, &t->err));
		EXPECT(t, !log->replay_wrong);
		EXPECT_EQ(t, log->replay_count, 13);
		EXPECT_EQ(t, found, end);
	}
	wal_history_close(history);
}

/* A segment is lost; somebody begins a new line where it was. Read from before the
 * gap, that line is no continuation: its checkpoint is missing. (wal/replay L3) */
ON_A_LOG(a_later_line_does_not_close_a_gap)
{
	char name[WAL_NAME_SIZE], path[512];
	struct wal_list list;
	uint64_t gap;

	for (int i = 0; i < 8; i++)
		EXPECT_OK(t, scratch_append(t, log, 10000, NULL));
	EXPECT_OK(t, wal_list_read(log->wal, &list, &t->err));
	EXPECT_EQ(t, list.valid_count, 2);
	gap = list.items[0].end;
	EXPECT_EQ(t, list.items[1].first, gap);
	wal_segment_name(name, list.items[1].no);
	wal_list_close(log->wal, &list);
	scratch_file(log, name, path);
	EXPECT(t, unlink(path) == 0);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, wal_start(log->wal, gap, &t->err));
	EXPECT_OK(t, scratch_append(t, log, 100, NULL));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "is missing or has lost its header");
	EXPECT_OK(t, scratch_replay(t, log, gap, 8));
	EXPECT_EQ(t, log->replay_count, 1);
}

static const struct test_case cases[] = {
	CASE(reading_back_changes_nothing),
	CASE(reading_again_gives_the_same_records_and_the_same_end),
	CASE(a_later_line_does_not_close_a_gap),
};
TEST_MAIN(cases)
