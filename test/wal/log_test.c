/*
 * log_test.c - appending, reading back, switching, reusing, and damage.
 */
#define _GNU_SOURCE
#include "test/support/scratch_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_SEGMENT = 64 * 1024 };

#define ON_A_LOG(name, segment_size)                                          \
	TEST_WITH(name, struct scratch_log, log,                              \
	          scratch_open(t, log, segment_size), scratch_close(log))

/* Sizes that meet every path of an append: tiny, odd, just below and above the
 * size that goes over the stack, several pages. */
static size_t varied_size(uint64_t number)
{
	static const size_t sizes[] = { 8, 13, 100, 331, 4000, 4056, 4057,
		                        5000, 9001, 300 };

	return sizes[number % (sizeof sizes / sizeof sizes[0])];
}

static bool append_many(struct test *t, struct scratch_log *log, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		int rc = scratch_append(t, log,
		                        varied_size(log->appended_count), NULL);

		if (rc) {
			test_fail(t, __FILE__, __LINE__, "append: %s",
			          t->err.text);
			return false;
		}
	}
	return true;
}

static uint32_t count_files(struct scratch_log *log)
{
	struct wal_list list;
	uint32_t count;

	if (wal_list_read(log->wal, &list, NULL))
		return UINT32_MAX;
	count = (uint32_t)list.count;
	wal_list_close(log->wal, &list);
	return count;
}

ON_A_LOG(records_come_back_in_order, 0)
{
	EXPECT(t, append_many(t, log, 200));
	EXPECT_EQ(t, log->shared->record_count, 200);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 200);
}

/* (wal/next N3) */
ON_A_LOG(replay_can_begin_at_any_record, SMALL_SEGMENT)
{
	uint64_t ends[21] = { 0 };

	for (int i = 1; i <= 20; i++)
		EXPECT_OK(t, scratch_append(t, log, 10000, &ends[i]));
	EXPECT(t, scratch_restart(t, log));
	for (uint64_t i = 0; i <= 20; i++) {
		EXPECT_OK(t, scratch_replay(t, log, ends[i], i));
		EXPECT_EQ(t, log->replay_count, 20 - i);
		EXPECT_EQ(t, log->replay_end, ends[20]);
	}
}

/* scratch_replay() reads in parts, too. */
ON_A_LOG(parts_agree_with_the_whole_whatever_the_sizes, SMALL_SEGMENT)
{
	uint64_t random = t->seed;

	for (int i = 0; i < 300; i++) {
		uint64_t size = test_random(&random) % 400;

		if (i % 37 == 5)
			size = test_random(&random) % 50000;
		if (i % 100 == 50)
			size = 300000; /* over several parts */
		EXPECT_OK(t, scratch_append(t, log, (size_t)size + 8, NULL));
		if (i % 10)
			continue;
		EXPECT_OK(t, scratch_replay(t, log, 0, 0));
		EXPECT_EQ(t, log->replay_count, i + 1);
	}
}

ON_A_LOG(many_spans_make_one_record, 0)
{
	static uint8_t bytes[20000];
	struct span spans[500];
	uint64_t end;

	scratch_fill(bytes, sizeof bytes, 0);
	for (size_t i = 0; i < 500; i++)
		spans[i] = span_of(bytes + 40 * i, 40);
	EXPECT_OK(t, wal_append(log->wal, spans, 500, &end, &t->err));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 1);
	EXPECT_EQ(t, log->replay_end, end);
}

/* The bytes that round a record up count in its checksum, and the rest of its page is
 * zeroed with it, whatever the file was before. */
ON_A_LOG(what_a_reused_file_held_is_written_over, 0)
{
	static uint8_t held[400000], rest[WAL_PAGE_SIZE];
	uint64_t end;

	memset(held, 0xee, sizeof held);
	scratch_poke(log, 1, WAL_SEGMENT_AREA_AT, held, sizeof held);
	for (uint64_t i = 0; i < 60; i++) {
		size_t left;

		EXPECT_OK(t, scratch_append(t, log, varied_size(i) + i % 8,
		                            &end));
		left = (size_t)(-end % WAL_PAGE_SIZE);
		scratch_peek(log, 1, WAL_SEGMENT_AREA_AT + end, rest, left);
		for (size_t at = 0; at < left; at++)
			EXPECT_EQ(t, rest[at], 0);
	}
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 60);
}

ON_A_LOG(an_empty_record_is_a_record, 0)
{
	uint64_t end;

	EXPECT_OK(t, wal_append(log->wal, NULL, 0, &end, &t->err));
	EXPECT_EQ(t, end, WAL_RECORD_HEADER_SIZE);
	EXPECT_EQ(t, log->shared->appended, end);
}

ON_A_LOG(a_record_beyond_the_limit_is_refused, 0)
{
	uint8_t byte = 0;
	struct span spans[2] = { { &byte, WAL_RECORD_PAYLOAD_MAX },
		                 { &byte, 1 } };
	uint64_t end;

	EXPECT_ERR(t, wal_append(log->wal, spans, 2, &end, &t->err), ERR_TOOBIG,
	           "append to the log: a record has at most 1073741824 bytes");
	spans[0].size = SIZE_MAX;
	EXPECT_ERR(t, wal_append(log->wal, spans, 2, &end, &t->err), ERR_TOOBIG,
	           "at most");
	EXPECT_EQ(t, log->shared->appended, 0);
}

ON_A_LOG(segments_follow_each_other_and_grow, 4 << 20)
{
	struct wal_list list;

	for (int i = 0; i < 80; i++) {
		EXPECT_OK(t, scratch_append(t, log, 100000, NULL));
		EXPECT_OK(t, wal_prepare(log->wal, &t->err));
	}
	EXPECT_OK(t, wal_list_read(log->wal, &list, &t->err));
	EXPECT(t, list.valid_count >= 3);
	EXPECT_EQ(t, list.items[0].size, 1 << 20);
	EXPECT_EQ(t, list.items[1].size, 2 << 20);
	EXPECT_EQ(t, list.items[2].size, 4 << 20);
	EXPECT_EQ(t, list.items[1].first, list.items[0].end);
	EXPECT_EQ(t, list.items[2].first, list.items[1].end);
	wal_list_close(log->wal, &list);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 80);
}

static void segments_are_made_in_time_or_on_demand(struct test *t)
{
	struct scratch_log log;

	for (int prepare = 0; prepare < 2; prepare++) {
		if (!scratch_open(t, &log, SMALL_SEGMENT))
			return;
		for (int i = 0; i < 300; i++) {
			EXPECT_OK(t, scratch_append(t, &log, varied_size(
					log.appended_count), NULL));
			if (prepare)
				EXPECT_OK(t, wal_prepare(log.wal, &t->err));
		}
		EXPECT(t, scratch_restart(t, &log));
		EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
		EXPECT_EQ(t, log.replay_count, 300);
		scratch_close(&log);
	}
}

/* However much of it the last record takes, one more fits that says that it ends.
 * (wal/append W3) */
ON_A_LOG(a_segment_keeps_room_for_the_record_that_closes_it, SMALL_SEGMENT)
{
	for (size_t less = 0; less <= 2 * WAL_RECORD_HEADER_SIZE; less += 8) {
		struct wal_position position;
		uint64_t room;

		EXPECT_OK(t, scratch_append(t, log, 100, NULL));
		wal_position_read(log->shared, &position);
		room = position.segment_end - position.appended;
		EXPECT_OK(t, scratch_append(t, log, (size_t)room -
		                            WAL_RECORD_HEADER_SIZE - less, NULL));
		wal_position_read(log->shared, &position);
		EXPECT(t, position.segment_end - position.appended >=
		                  WAL_RECORD_HEADER_SIZE);
	}
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, log->appended_count);
}

ON_A_LOG(the_next_segment_is_prepared_when_half_is_used, SMALL_SEGMENT)
{
	EXPECT_OK(t, scratch_append(t, log, 20000, NULL));
	EXPECT_OK(t, wal_prepare(log->wal, &t->err));
	EXPECT_EQ(t, count_files(log), 1);
	EXPECT_OK(t, scratch_append(t, log, 20000, NULL));
	EXPECT_OK(t, wal_prepare(log->wal, &t->err));
	EXPECT_EQ(t, count_files(log), 2);
	EXPECT_EQ(t, log->shared->next_first, SMALL_SEGMENT - 4096);
}

/* A segment is made as large as the record needs; then sizes are ordinary. */
static void a_record_larger_than_a_segment_gets_its_own(struct test *t)
{
	for (int prepared = 0; prepared < 2; prepared++) {
		struct scratch_log log;
		struct wal_list list;

		if (!scratch_open(t, &log, SMALL_SEGMENT))
			return;
		EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
		if (prepared)
			EXPECT_OK(t, wal_prepare(log.wal, &t->err));
		EXPECT_OK(t, scratch_append(t, &log, 3000000, NULL));
		EXPECT_OK(t, scratch_append(t, &log, 3000000, NULL));
		EXPECT_OK(t, scratch_append(t, &log, 40000, NULL));
		EXPECT_OK(t, wal_sync(log.wal, log.shared->appended, &t->err));
		EXPECT_EQ(t, log.shared->durable, log.shared->appended);
		EXPECT_OK(t, wal_list_read(log.wal, &list, &t->err));
		EXPECT_EQ(t, list.valid_count, 4);
		EXPECT_EQ(t, list.items[3].size, SMALL_SEGMENT);
		wal_list_close(log.wal, &list);
		EXPECT(t, scratch_restart(t, &log));
		EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
		EXPECT_EQ(t, log.replay_count, 4);
		scratch_close(&log);
	}
}

ON_A_LOG(a_torn_last_record_is_the_end, 0)
{
	uint64_t before, end;

	EXPECT(t, append_many(t, log, 10));
	before = log->shared->appended;
	EXPECT_OK(t, scratch_append(t, log, 3000, &end));
	for (uint64_t at = before; at < end; at += 149) {
		uint8_t zeros[3100] = { 0 }, saved[3100];
		size_t size = (size_t)(end - at);

		scratch_peek(log, 1, 4096 + at, saved, size);
		scratch_poke(log, 1, 4096 + at, zeros, size);
		EXPECT(t, scratch_restart(t, log));
		EXPECT_OK(t, scratch_replay(t, log, 0, 0));
		EXPECT_EQ(t, log->replay_count, 10);
		EXPECT_EQ(t, log->replay_end, before);
		scratch_poke(log, 1, 4096 + at, saved, size);
	}
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_end, end);
}

/* Each new line has a new salt and begins beyond all that was there. (rule 5) */
ON_A_LOG(a_restart_never_chains_old_records_on, 0)
{
	uint64_t end, begin;

	EXPECT(t, append_many(t, log, 50));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	end = log->replay_end;
	EXPECT_OK(t, wal_start(log->wal, end, &t->err));
	begin = log->shared->appended;
	EXPECT(t, begin > end);
	EXPECT_OK(t, scratch_append(t, log, 100, NULL));

	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, end, 50));
	EXPECT_EQ(t, log->replay_count, 1);
	EXPECT_OK(t, scratch_replay(t, log, begin, 50));
	EXPECT_EQ(t, log->replay_count, 1);
	/* From before: the checkpoint that belongs to the new line is lost. */
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "says that it had been durable");
}

ON_A_LOG(an_interrupted_recovery_is_repeated, 0)
{
	EXPECT(t, append_many(t, log, 50));
	for (int i = 0; i < 5; i++) {
		EXPECT(t, scratch_restart(t, log));
		EXPECT_OK(t, scratch_replay(t, log, 0, 0));
		EXPECT_EQ(t, log->replay_count, 50);
		EXPECT_OK(t, wal_start(log->wal, log->replay_end, &t->err));
	}
	EXPECT_OK(t, scratch_append(t, log, 100, NULL));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, log->replay_end, 50));
	EXPECT_EQ(t, log->replay_count, 1);
}

ON_A_LOG(openings_that_write_nothing_leave_no_segments, 0)
{
	uint64_t end;

	EXPECT(t, append_many(t, log, 50));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	end = log->replay_end;
	EXPECT_OK(t, wal_start(log->wal, end, &t->err));
	for (int i = 0; i < 20; i++) {
		EXPECT(t, scratch_restart(t, log));
		EXPECT_OK(t, scratch_replay(t, log, end, 50));
		EXPECT_EQ(t, log->replay_count, 0);
		EXPECT_OK(t, wal_start(log->wal, end, &t->err));
		EXPECT(t, count_files(log) <= 3);
	}
	EXPECT_OK(t, scratch_append(t, log, 100, NULL));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, end, 50));
	EXPECT_EQ(t, log->replay_count, 1);
}

/* A killed appender's half of a long record, a shorter one over it, and then
 * death again: what is left of the long one never counts. */
ON_A_LOG(the_rest_of_a_longer_half_record_is_not_read, 0)
{
	struct wal_shared before;
	uint64_t end;

	EXPECT(t, append_many(t, log, 5));
	memcpy(&before, log->shared, sizeof before);
	EXPECT_OK(t, scratch_append(t, log, 50000, &end));
	scratch_flip(log, 1, 4096 + end - 3);
	memcpy(log->shared, &before, sizeof before);
	log->appended_count--;
	EXPECT_OK(t, wal_scan_tail(log->wal, scratch_check_record, log,
	                           &t->err));
	EXPECT_EQ(t, log->shared->appended, before.appended);
	EXPECT_OK(t, scratch_append(t, log, 64, NULL));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 6);
}

/* Even when that half record's payload is itself a chain of log records, copied
 * from this very log. */
ON_A_LOG(records_inside_a_payload_are_not_read, 0)
{
	static uint8_t copy[40000];
	struct span payload = span_of(copy, sizeof copy);
	struct wal_shared before;
	uint64_t end;

	EXPECT(t, append_many(t, log, 40));
	scratch_peek(log, 1, 4096, copy, sizeof copy);
	memcpy(&before, log->shared, sizeof before);
	EXPECT_OK(t, wal_append(log->wal, &payload, 1, &end, &t->err));
	scratch_flip(log, 1, 4096 + end - 3);
	memcpy(log->shared, &before, sizeof before);
	EXPECT_OK(t, scratch_append(t, log, 64, &end));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 41);
	EXPECT_EQ(t, log->replay_end, end);
}

/* A record that lies where the next one would begin, right
 * salt, right position, right checksum, but made before the one it follows.
 * (wal/record A3) */
ON_A_LOG(a_record_that_does_not_chain_is_the_end, 0)
{
	struct wal_shared before;
	uint64_t end;

	EXPECT(t, append_many(t, log, 5));
	memcpy(&before, log->shared, sizeof before);
	EXPECT_OK(t, scratch_append(t, log, 64, NULL));
	EXPECT_OK(t, scratch_append(t, log, 64, NULL));
	memcpy(log->shared, &before, sizeof before);
	EXPECT_OK(t, wal_append(log->wal, &(struct span){ (const uint8_t *)
	          "the same length, but other bytes than there were to be "
	          "..........", 64 }, 1, &end, &t->err));
	EXPECT_OK(t, wal_scan_tail(log->wal, scratch_check_record, log,
	                           &t->err));
	EXPECT_EQ(t, log->shared->appended, end);
	EXPECT(t, scratch_restart(t, log));
	log->replay_next = 0;
	EXPECT_OK(t, wal_replay(log->wal, 0, scratch_check_record, log,
	                        &log->replay_end, &t->err));
	EXPECT_EQ(t, log->replay_end, end);
}

ON_A_LOG(a_whole_record_of_a_killed_appender_is_found, SMALL_SEGMENT)
{
	struct wal_shared before;
	uint64_t end;

	for (uint64_t i = 0; i < 100; i++) {
		memcpy(&before, log->shared, sizeof before);
		EXPECT_OK(t, scratch_append(t, log, varied_size(i), &end));
		/* What the killed one made ready and announced stays. */
		before.next_first = log->shared->next_first;
		before.next_end = log->shared->next_end;
		before.next_salt = log->shared->next_salt;
		before.next_no = log->shared->next_no;
		before.last_no = log->shared->last_no;
		memcpy(log->shared, &before, sizeof before);
		log->replay_next = i;
		log->replay_count = 0;
		EXPECT_OK(t, wal_scan_tail(log->wal, scratch_check_record, log,
		                           &t->err));
		EXPECT(t, !log->replay_wrong);
		EXPECT_EQ(t, log->replay_count, 1);
		EXPECT_EQ(t, log->shared->appended, end);
		EXPECT_EQ(t, log->shared->record_count, i + 1);
	}
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 100);
}

/* A place is published by one store; all the stores before it change nothing. */
ON_A_LOG(a_half_filled_place_is_not_seen, 0)
{
	struct wal_position position;
	struct wal_place *unused;
	uint64_t end;

	EXPECT(t, append_many(t, log, 5));
	unused = &log->shared->place[(log->shared->place_sequence + 1) & 1];
	memset(unused, 0xee, sizeof *unused);
	wal_position_read(log->shared, &position);
	EXPECT_EQ(t, position.appended, log->shared->appended);
	EXPECT_OK(t, scratch_append(t, log, 50, &end));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_end, end);
}

/* (wal/place P1) */
ON_A_LOG(publishing_a_place_leaves_the_one_before_whole, 0)
{
	for (int i = 0; i < 3; i++) {
		struct wal_place before, *used;
		uint64_t sequence = log->shared->place_sequence;

		used = &log->shared->place[sequence & 1];
		memcpy(&before, used, sizeof before);
		EXPECT_OK(t, scratch_append(t, log, 50, NULL));
		EXPECT_EQ(t, log->shared->place_sequence, sequence + 1);
		EXPECT(t, memcmp(&before, used, sizeof before) == 0);
	}
}

static int refuse(void *context, uint64_t lsn, struct span payload,
                  struct err *err)
{
	(void)context, (void)lsn, (void)payload;
	return err_set(err, ERR_INTERRUPT, "test", "", "enough");
}

ON_A_LOG(an_error_of_the_callback_stops_reading, 0)
{
	struct wal_shared before;
	uint64_t end;

	memcpy(&before, log->shared, sizeof before);
	EXPECT_OK(t, scratch_append(t, log, 50, &end));
	memcpy(log->shared, &before, sizeof before);
	EXPECT_ERR(t, wal_scan_tail(log->wal, refuse, NULL, &t->err),
	           ERR_INTERRUPT, "enough");
	EXPECT_EQ(t, log->shared->appended, 0);
	EXPECT_ERR(t, wal_replay(log->wal, 0, refuse, NULL, &end, &t->err),
	           ERR_INTERRUPT, "enough");
}

ON_A_LOG(a_damaged_record_that_was_durable_is_corruption, 0)
{
	uint64_t ends[4];

	EXPECT(t, append_many(t, log, 5));
	for (int i = 0; i < 4; i++) {
		EXPECT_OK(t, scratch_append(t, log, 3000, &ends[i]));
		EXPECT_OK(t, wal_sync(log->wal, ends[i], &t->err));
	}
	scratch_flip(log, 1, 4096 + ends[0] + 1234);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "replay the log wal/wal.000001: the record at position");
	EXPECT_ERR(t, scratch_replay(t, log, ends[0], 6), ERR_CORRUPT,
	           "says that it had been durable");
	EXPECT_OK(t, scratch_replay(t, log, ends[1], 7));
	EXPECT_EQ(t, log->replay_count, 2);
}

ON_A_LOG(a_damaged_record_that_was_never_durable_is_the_end, 0)
{
	uint64_t ends[4];

	EXPECT(t, append_many(t, log, 5));
	EXPECT_OK(t, wal_sync(log->wal, log->shared->appended, &t->err));
	for (int i = 0; i < 4; i++)
		EXPECT_OK(t, scratch_append(t, log, 3000, &ends[i]));
	scratch_flip(log, 1, 4096 + ends[0] + 1234);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_end, ends[0]);
}

/* Made up to cost time: a header every 40 bytes, each claiming all that follows.
 * Checking them all would take the square of the segment's size. */
ON_A_LOG(overlapping_records_are_not_all_checked, 0)
{
	uint64_t area = (1 << 20) - WAL_SEGMENT_AREA_AT;
	uint8_t bytes[WAL_RECORD_HEADER_SIZE] = { 0 };

	for (uint64_t at = 0; at + 8 * sizeof bytes < area;
	     at += sizeof bytes) {
		struct wal_record record = {
			.lsn = at, .magic = WAL_RECORD_MAGIC,
			.payload_size = (uint32_t)(area - at - 2 * sizeof bytes),
		};

		wal_record_encode(bytes, &record);
		scratch_poke(log, 1, WAL_SEGMENT_AREA_AT + at, bytes,
		             sizeof bytes);
	}
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "it is full of overlapping records");
}

/* In the next segment lies the proof that the end of this one was durable.
 * (rule 5) */
ON_A_LOG(the_proof_may_lie_in_a_later_segment, SMALL_SEGMENT)
{
	uint64_t end;

	for (int i = 0; i < 5; i++)
		EXPECT_OK(t, scratch_append(t, log, 10000, &end));
	EXPECT_OK(t, scratch_append(t, log, 20000, NULL));
	EXPECT_OK(t, wal_sync(log->wal, log->shared->appended, &t->err));
	EXPECT_OK(t, scratch_append(t, log, 10000, NULL));
	scratch_flip(log, 1, 4096 + end - 100);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "replay the log wal/wal.000002: the record at position");
}

static void a_missing_segment_is_corruption(struct test *t)
{
	for (uint32_t lost = 1; lost <= 3; lost++) {
		struct scratch_log log;
		char name[WAL_NAME_SIZE], path[512];

		if (!scratch_open(t, &log, SMALL_SEGMENT))
			return;
		for (int i = 0; i < 14; i++)
			EXPECT_OK(t, scratch_append(t, &log, 10000, NULL));
		EXPECT_EQ(t, count_files(&log), 3);
		wal_segment_name(name, lost);
		scratch_file(&log, name, path);
		EXPECT(t, unlink(path) == 0);
		EXPECT(t, scratch_restart(t, &log));
		EXPECT_ERR(t, scratch_replay(t, &log, 0, 0), ERR_CORRUPT,
		           lost == 1 ? "which is in no segment" :
		                       "is missing or has lost its header");
		scratch_close(&log);
	}
}

static void one_of_two_headers_is_enough(struct test *t)
{
	for (int both = 0; both < 2; both++) {
		struct scratch_log log;

		if (!scratch_open(t, &log, 0) || !append_many(t, &log, 5))
			return;
		scratch_flip(&log, 1, both ? 20 : 2048 + 20);
		EXPECT(t, scratch_restart(t, &log));
		EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
		EXPECT_EQ(t, log.replay_count, 5);
		scratch_flip(&log, 1, both ? 2048 + 20 : 20);
		EXPECT_ERR(t, scratch_replay(t, &log, 0, 0), ERR_CORRUPT,
		           "wal/wal.000001: its header is damaged, but it "
		           "holds records");
		EXPECT_ERR(t, wal_start(log.wal, 0, &t->err), ERR_CORRUPT,
		           "its header is damaged");
		scratch_close(&log);
	}
}

static bool write_file(struct scratch_log *log, const char *name,
                       const void *bytes, size_t size)
{
	char path[512];
	int file;
	bool done;

	scratch_file(log, name, path);
	file = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	done = file >= 0 && write(file, bytes, size) == (ssize_t)size;
	close(file);
	return done;
}

static bool file_exists(struct scratch_log *log, const char *name)
{
	char path[512];
	struct stat info;

	scratch_file(log, name, path);
	return lstat(path, &info) == 0;
}

ON_A_LOG(what_an_interrupted_creation_left_is_replaced, 0)
{
	static const uint8_t zeros[12288];
	uint64_t end;

	EXPECT(t, append_many(t, log, 5));
	EXPECT(t, write_file(log, "wal/wal.000002", "", 0));
	EXPECT(t, write_file(log, "wal/wal.000003", zeros, sizeof zeros));
	EXPECT(t, write_file(log, "wal/wal.000004", "TWAL\1", 5));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 5);
	end = log->replay_end;
	EXPECT_OK(t, wal_start(log->wal, end, &t->err));
	EXPECT(t, !file_exists(log, "wal/wal.000002"));
	EXPECT(t, !file_exists(log, "wal/wal.000003"));
	EXPECT(t, !file_exists(log, "wal/wal.000004"));
	EXPECT(t, file_exists(log, "wal/wal.000005"));
}

ON_A_LOG(a_new_database_survives_an_interrupted_start, 0)
{
	EXPECT(t, write_file(log, "wal/wal.000001", "", 0));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_end, 0);
	EXPECT_ERR(t, scratch_replay(t, log, 4096, 0), ERR_CORRUPT,
	           "position 4096, but the log has no segments");
	EXPECT_OK(t, wal_start(log->wal, 0, &t->err));
	EXPECT_OK(t, scratch_append(t, log, 100, NULL));
}

ON_A_LOG(what_is_not_ours_is_left_alone, SMALL_SEGMENT)
{
	static const char *const names[] = {
		"wal/notes.txt", "wal/wal.1", "wal/wal.0000001",
		"wal/wal.000001.bak", "wal/wal.99999999999", "wal/wal.00000x",
	};

	EXPECT(t, append_many(t, log, 5));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		EXPECT(t, write_file(log, names[i], "precious", 8));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_EQ(t, log->replay_count, 5);
	EXPECT_OK(t, wal_start(log->wal, log->replay_end, &t->err));
	EXPECT(t, append_many(t, log, 300));
	EXPECT_OK(t, wal_drop_before(log->wal, log->shared->appended, &t->err));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		EXPECT(t, file_exists(log, names[i]));
}

/* Something else under a segment's name may have taken the place of commits. */
ON_A_LOG(what_has_a_segments_name_and_is_none_is_told, SMALL_SEGMENT)
{
	static uint8_t bytes[1 << 20];
	char path[512];

	EXPECT(t, append_many(t, log, 5));
	scratch_peek(log, 1, 0, bytes, SMALL_SEGMENT);
	EXPECT(t, write_file(log, "wal/wal.000016", bytes, SMALL_SEGMENT));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "wal/wal.000016: it is a copy of segment 1");
	scratch_file(log, "wal/wal.000016", path);
	EXPECT(t, unlink(path) == 0 && symlink("wal.000001", path) == 0);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CANTOPEN,
	           "wal/wal.000016: it is not a regular file");
	EXPECT(t, unlink(path) == 0 && mkdir(path, 0700) == 0);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CANTOPEN,
	           "wal/wal.000016: it is not a regular file");
	EXPECT(t, rmdir(path) == 0);
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
}

ON_A_LOG(a_log_of_another_database_is_refused, 0)
{
	EXPECT(t, append_many(t, log, 5));
	log->options.database++;
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "wal/wal.000001: it belongs to another database");
}

ON_A_LOG(a_truncated_segment_is_reported, 0)
{
	char path[512];

	EXPECT(t, append_many(t, log, 5));
	scratch_file(log, "wal/wal.000001", path);
	EXPECT(t, truncate(path, 8192) == 0);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "wal/wal.000001: the file has 8192 bytes, its header says "
	           "1048576");
}

ON_A_LOG(a_position_outside_the_log_is_reported, SMALL_SEGMENT)
{
	EXPECT(t, append_many(t, log, 5));
	EXPECT_ERR(t, scratch_replay(t, log, 1 << 20, 0), ERR_CORRUPT,
	           "position 1048576, which is in no segment of the log");
	EXPECT_ERR(t, wal_start(log->wal, 1001, &t->err), ERR_INVALID,
	           "1001 is no position");
	EXPECT_ERR(t, wal_drop_before(log->wal, 1 << 20, &t->err), ERR_INVALID,
	           "beyond the log's end");
}

static uint64_t first_of(struct scratch_log *log, uint32_t no)
{
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];

	scratch_peek(log, no, 0, header, sizeof header);
	return load_le64(header + WAL_SEGMENT_FIRST_AT);
}

ON_A_LOG(dropping_keeps_every_byte_from_the_position_on, SMALL_SEGMENT)
{
	uint64_t ends[101] = { 0 };

	for (uint64_t i = 1; i <= 100; i++) {
		EXPECT_OK(t, scratch_append(t, log, 7000, &ends[i]));
		EXPECT_OK(t, wal_prepare(log->wal, &t->err));
		if (i >= 10 && i % 3 == 0)
			EXPECT_OK(t, wal_drop_before(log->wal, ends[i - 10],
			                             &t->err));
		EXPECT(t, i < 12 || wal_bytes(log->wal) < 4 * SMALL_SEGMENT);
	}
	EXPECT(t, count_files(log) <= 7);
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, ends[89], 89));
	EXPECT_EQ(t, log->replay_count, 11);
	EXPECT_ERR(t, scratch_replay(t, log, 0, 0), ERR_CORRUPT,
	           "in no segment");
}

ON_A_LOG(of_a_long_log_what_lies_before_is_dropped_and_nothing_else, SMALL_SEGMENT)
{
	uint64_t ends[61] = { 0 };

	for (uint64_t i = 1; i <= 60; i++)
		EXPECT_OK(t, scratch_append(t, log, 7000, &ends[i]));
	EXPECT(t, count_files(log) >= 7);
	EXPECT_OK(t, wal_drop_before(log->wal, ends[12], &t->err));
	EXPECT_OK(t, scratch_replay(t, log, ends[12], 12));
	EXPECT_EQ(t, log->replay_count, 48);
	EXPECT_OK(t, wal_drop_before(log->wal, ends[60], &t->err));
	EXPECT(t, count_files(log) <= 3);
	EXPECT_OK(t, scratch_append(t, log, 7000, NULL));
	EXPECT_OK(t, scratch_replay(t, log, ends[60], 60));
	EXPECT_EQ(t, log->replay_count, 1);
}

/* Files go round: after the first few no new ones are made. */
ON_A_LOG(dropped_segments_are_used_again, SMALL_SEGMENT)
{
	uint64_t end, salt;
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];

	scratch_peek(log, 1, 0, header, sizeof header);
	salt = load_le64(header + WAL_SEGMENT_SALT_AT);
	for (int i = 0; i < 200; i++) {
		EXPECT_OK(t, scratch_append(t, log, 7000, &end));
		EXPECT_OK(t, wal_prepare(log->wal, &t->err));
		EXPECT_OK(t, wal_drop_before(log->wal, end, &t->err));
	}
	EXPECT(t, log->shared->last_no <= 3);
	EXPECT(t, first_of(log, 1) > 0);
	scratch_peek(log, 1, 0, header, sizeof header);
	EXPECT(t, load_le64(header + WAL_SEGMENT_SALT_AT) != salt);
}

/* So that a database that is opened and closed often does not fill new files
 * with zeros each time. */
ON_A_LOG(a_start_uses_a_file_that_the_replay_did_not_need, 0)
{
	uint64_t position = 0;

	for (int i = 0; i < 10; i++) {
		EXPECT(t, append_many(t, log, 20));
		EXPECT_OK(t, wal_drop_before(log->wal, position, &t->err));
		EXPECT(t, scratch_restart(t, log));
		EXPECT_OK(t, scratch_replay(t, log, position,
		                            log->appended_count - 20));
		EXPECT_EQ(t, log->replay_count, 20);
		EXPECT_OK(t, wal_start(log->wal, log->replay_end, &t->err));
		position = log->shared->appended;
	}
	EXPECT(t, log->shared->last_no <= 3);
}

/* A checkpoint cannot be sure of two things at once; until the superblock is
 * durable the old one counts, and all that it needs is there. */
ON_A_LOG(a_start_does_not_touch_what_the_old_checkpoint_needs, SMALL_SEGMENT)
{
	EXPECT(t, append_many(t, log, 100));
	EXPECT(t, scratch_restart(t, log));
	EXPECT_OK(t, scratch_replay(t, log, 0, 0));
	EXPECT_OK(t, wal_start(log->wal, log->replay_end, &t->err));
	EXPECT_EQ(t, log->shared->first_lsn, 0);
	EXPECT_OK(t, scratch_append(t, log, 40000, NULL));
	EXPECT_OK(t, wal_prepare(log->wal, &t->err));
	EXPECT_EQ(t, first_of(log, 1), 0);
}

struct seen {
	uint32_t count;
	uint64_t last_first;
	bool wrong;
};

static int see(void *context, uint32_t no, uint64_t bytes, uint64_t first)
{
	struct seen *seen = context;

	if (no == 0 || bytes != SMALL_SEGMENT ||
	    (seen->count && first <= seen->last_first))
		seen->wrong = true;
	seen->last_first = first;
	seen->count++;
	return 0;
}

ON_A_LOG(the_list_of_segments_is_in_order, SMALL_SEGMENT)
{
	struct seen seen = { 0 };

	EXPECT(t, append_many(t, log, 100));
	EXPECT_OK(t, wal_segments(log->wal, see, &seen, &t->err));
	EXPECT(t, !seen.wrong && seen.count > 3);
}

/* Everything that allocates can be refused memory; the log stays as it was. */
ON_A_LOG(no_memory_is_an_error_and_nothing_else, SMALL_SEGMENT)
{
	EXPECT(t, append_many(t, log, 100));
	EXPECT(t, scratch_restart(t, log));
	for (int64_t n = 1;; n++) {
		int rc;

		log->heap.fail_in = n;
		rc = scratch_replay(t, log, 0, 0);
		if (rc == ERR_NONE)
			break;
		EXPECT_ERR(t, rc, ERR_NOMEM, "memory");
	}
	log->heap.fail_in = 0;
	EXPECT_EQ(t, log->replay_count, 100);
	for (int64_t n = 1;; n++) {
		int rc;

		log->heap.fail_in = n;
		rc = wal_start(log->wal, log->replay_end, &t->err);
		if (rc == ERR_NONE)
			break;
		EXPECT_ERR(t, rc, ERR_NOMEM, "memory");
	}
	log->heap.fail_in = 0;
	EXPECT(t, append_many(t, log, 10));
}

/* A lack of memory once became "whether the commit is durable is not known": the
 * first sync in a segment opened its file when the record was already there.
 * (wal/sync Y5) */
static void no_memory_fails_an_append_but_no_sync(struct test *t)
{
	bool reached = true;

	for (int64_t n = 1; reached; n++) {
		struct scratch_log log;
		uint64_t end;

		if (!scratch_open(t, &log, SMALL_SEGMENT))
			return;
		log.heap.fail_in = n;
		for (int i = 0; i < 60; i++) {
			int rc = scratch_append(t, &log, 4000, &end);

			if (rc)
				EXPECT_ERR(t, rc, ERR_NOMEM, "memory");
			else
				EXPECT_OK(t, wal_sync(log.wal, end, &t->err));
		}
		reached = log.heap.fail_in == 0;
		log.heap.fail_in = 0;
		EXPECT(t, n > 5 || reached);
		EXPECT_OK(t, scratch_replay(t, &log, 0, 0));
		EXPECT_EQ(t, log.replay_count, log.appended_count);
		scratch_close(&log);
	}
}

static const struct test_case cases[] = {
	CASE(records_come_back_in_order),
	CASE(replay_can_begin_at_any_record),
	CASE(parts_agree_with_the_whole_whatever_the_sizes),
	CASE(many_spans_make_one_record),
	CASE(what_a_reused_file_held_is_written_over),
	CASE(an_empty_record_is_a_record),
	CASE(a_record_beyond_the_limit_is_refused),
	CASE(segments_follow_each_other_and_grow),
	CASE(segments_are_made_in_time_or_on_demand),
	CASE(a_segment_keeps_room_for_the_record_that_closes_it),
	CASE(the_next_segment_is_prepared_when_half_is_used),
	CASE(a_record_larger_than_a_segment_gets_its_own),
	CASE(a_torn_last_record_is_the_end),
	CASE(a_restart_never_chains_old_records_on),
	CASE(an_interrupted_recovery_is_repeated),
	CASE(openings_that_write_nothing_leave_no_segments),
	CASE(the_rest_of_a_longer_half_record_is_not_read),
	CASE(records_inside_a_payload_are_not_read),
	CASE(a_record_that_does_not_chain_is_the_end),
	CASE(a_whole_record_of_a_killed_appender_is_found),
	CASE(a_half_filled_place_is_not_seen),
	CASE(publishing_a_place_leaves_the_one_before_whole),
	CASE(an_error_of_the_callback_stops_reading),
	CASE(a_damaged_record_that_was_durable_is_corruption),
	CASE(a_damaged_record_that_was_never_durable_is_the_end),
	CASE(overlapping_records_are_not_all_checked),
	CASE(the_proof_may_lie_in_a_later_segment),
	CASE(a_missing_segment_is_corruption),
	CASE(one_of_two_headers_is_enough),
	CASE(what_an_interrupted_creation_left_is_replaced),
	CASE(a_new_database_survives_an_interrupted_start),
	CASE(what_is_not_ours_is_left_alone),
	CASE(what_has_a_segments_name_and_is_none_is_told),
	CASE(a_log_of_another_database_is_refused),
	CASE(a_truncated_segment_is_reported),
	CASE(a_position_outside_the_log_is_reported),
	CASE(dropping_keeps_every_byte_from_the_position_on),
	CASE(of_a_long_log_what_lies_before_is_dropped_and_nothing_else),
	CASE(dropped_segments_are_used_again),
	CASE(a_start_uses_a_file_that_the_replay_did_not_need),
	CASE(a_start_does_not_touch_what_the_old_checkpoint_needs),
	CASE(the_list_of_segments_is_in_order),
	CASE(no_memory_is_an_error_and_nothing_else),
	CASE(no_memory_fails_an_append_but_no_sync),
};
TEST_MAIN(cases)
