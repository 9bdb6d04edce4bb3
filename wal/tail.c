/*
 * tail.c - finds what a killed appender wrote but did not account for.
 *
 * A whole record at the end of the log is a commit that happened: whoever takes
 * the writer lock from the dead finishes it. Shared memory knows everything up
 * to the last published place; behind it can be one record, or the record that
 * closes a segment and one in the next.
 */
#include "wal/wal_private.h"

static int open_reader(struct wal *wal, struct wal_reader *reader,
                       const struct wal_position *position, struct err *err)
{
	struct wal_segment segment = {
		.no = position->segment_no,
		.first = position->segment_first,
		.end = position->segment_end,
		.salt = position->segment_salt,
	};

	segment.size = segment.end - segment.first + WAL_SEGMENT_AREA_AT;
	segment.file_size = segment.size;
	return wal_reader_open(wal, reader, &segment, err);
}

/* What the dead did not come to when it entered a segment. */
static void move_to_next(struct wal_shared *shared,
                         struct wal_position *position,
                         const struct wal_record *record)
{
	struct wal_position next;

	wal_next_position(shared, position, record->checksum, &next);
	*position = next;
}

static int scan(struct wal *wal, struct wal_reader *reader,
                struct wal_position *position, wal_record_fn *each,
                void *context, struct err *err)
{
	for (;;) {
		struct wal_record record;
		struct span payload;
		bool holds;
		int rc;

		rc = wal_reader_record(reader, position->appended, &record,
		                       &payload, &holds, err);
		if (rc || !holds || record.previous != position->last_checksum)
			return rc;
		if (record.magic == WAL_RECORD_MAGIC) {
			rc = each(context, record.lsn, payload, err);
			if (rc)
				return rc;
			position->appended += record.size;
			position->last_checksum = record.checksum;
			atomic_fetch_add(&wal->shared->record_count, 1);
		} else if (wal_next_is_ready(wal->shared, position, 0)) {
			move_to_next(wal->shared, position, &record);
			rc = open_reader(wal, reader, position, err);
		} else {
			return err_set(err, ERR_CORRUPT, "scan the log's end",
			               reader->file->name, "it is closed, but "
			               "no next segment is known");
		}
		if (rc)
			return rc;
		wal_position_publish(wal->shared, position);
	}
}

int wal_scan_tail(struct wal *wal, wal_record_fn *each, void *context,
                  struct err *err)
{
	struct wal_position position;
	struct wal_reader reader;
	int rc;

	wal_position_read(wal->shared, &position);
	wal_reader_init(&reader, wal->heap);
	rc = open_reader(wal, &reader, &position, err);
	if (!rc)
		rc = scan(wal, &reader, &position, each, context, err);
	wal_reader_close(&reader);
	atomic_store(&wal->shared->prepare_at, wal_prepare_position(&position));
	return rc;
}
