/*
 * append.c - puts one record behind the last one.
 *
 * Usage         By the owner of the writer lock alone.
 * Performance   One pwritev, no other system call, no allocation. Records of a
 *               few KB are put together on the stack: one copy and one span
 *               cost less than three spans and a checksum in pieces. A record
 *               that enters a new page writes that page to its end, with
 *               zeros: the kernel then need not read a page it no longer has,
 *               and what a reused file held is gone from sight.
 * Safety        (W1) A record counts once the place behind it is published,
 *               after its last byte is written: killed before, the next owner
 *               of the lock finds it by wal_scan_tail() when it is whole, and
 *               overwrites it when it is not. (W2) A failed write leaves no
 *               record behind: its header is wiped out and the wipe synced, or
 *               the log is poisoned. (W3) Every segment keeps room for the
 *               record that closes it.
 */
#include "wal/wal_private.h"

#include <assert.h>
#include <inttypes.h>

#include "base/checksum.h"

enum {
	SMALL_SIZE = 4096,   /* records up to this size go over the stack    */
	SPANS_AT_ONCE = 60,
	LAST_SIZE = WAL_RECORD_HEADER_SIZE,
};

/* Zeros that the write of a record takes along: see Performance. */
static size_t page_rest(uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size;
	bool enters = (offset - 1) / WAL_PAGE_SIZE != (end - 1) / WAL_PAGE_SIZE;

	return enters ? (size_t)(-end % WAL_PAGE_SIZE) : 0;
}

static int write_small(struct wal *wal, uint64_t offset, uint64_t salt,
                       struct wal_record *record, const struct span *spans,
                       size_t span_count, struct err *err)
{
	_Alignas(8) uint8_t bytes[SMALL_SIZE + WAL_PAGE_SIZE];
	size_t size = (size_t)record->size, rest = page_rest(offset, size);
	uint8_t *at = bytes + WAL_RECORD_HEADER_SIZE;

	wal_record_encode(bytes, record);
	for (size_t i = 0; i < span_count; i++) {
		memcpy(at, spans[i].data, spans[i].size);
		at += spans[i].size;
	}
	memset(at, 0, (size_t)(bytes + size + rest - at));
	record->checksum = checksum64(bytes + WAL_RECORD_MAGIC_AT,
	                              size - WAL_RECORD_MAGIC_AT, salt);
	store_le64(bytes + WAL_RECORD_CHECKSUM_AT, record->checksum);
	return os_write(wal->append.file, offset, bytes, size + rest, err);
}

static uint64_t checksum_spans(const uint8_t *header,
                               const struct wal_record *record, uint64_t salt,
                               const struct span *spans, size_t span_count)
{
	struct checksum_stream stream;

	checksum_stream_init(&stream, salt);
	checksum_stream_add(&stream, header + WAL_RECORD_MAGIC_AT,
	                    WAL_RECORD_HEADER_SIZE - WAL_RECORD_MAGIC_AT);
	for (size_t i = 0; i < span_count; i++)
		checksum_stream_add(&stream, spans[i].data, spans[i].size);
	checksum_stream_add(&stream, wal_zeros,
	                    (size_t)record->size - WAL_RECORD_HEADER_SIZE -
	                    record->payload_size);
	return checksum_stream_end(&stream);
}

static int write_large(struct wal *wal, uint64_t offset, uint64_t salt,
                       struct wal_record *record, const struct span *spans,
                       size_t span_count, struct err *err)
{
	size_t padding = (size_t)record->size - WAL_RECORD_HEADER_SIZE -
	                 record->payload_size;
	size_t rest = page_rest(offset, record->size);
	struct span pieces[SPANS_AT_ONCE + 2];
	uint8_t header[WAL_RECORD_HEADER_SIZE];
	size_t count = 0, bytes = 0;
	int rc = ERR_NONE;

	wal_record_encode(header, record);
	record->checksum = checksum_spans(header, record, salt, spans,
	                                  span_count);
	store_le64(header + WAL_RECORD_CHECKSUM_AT, record->checksum);

	pieces[count++] = span_of(header, sizeof header);
	bytes = sizeof header;
	for (size_t i = 0; i < span_count && !rc; i++) {
		if (count > SPANS_AT_ONCE) {
			rc = os_write_spans(wal->append.file, offset, pieces,
			                    count, err);
			offset += bytes;
			count = bytes = 0;
		}
		pieces[count++] = spans[i];
		bytes += spans[i].size;
	}
	if (rc)
		return rc;
	pieces[count++] = span_of(wal_zeros, padding + rest);
	return os_write_spans(wal->append.file, offset, pieces, count, err);
}

/* (W2), (wal/record A2) */
static int wipe(struct wal *wal, uint64_t offset, int rc,
                const struct err *reason, struct err *err)
{
	struct os_file *file = wal->append.file;
	struct err wiping;

	if (os_write(file, offset, wal_zeros, WAL_RECORD_HEADER_SIZE,
	             &wiping) ||
	    os_sync(file, &wiping))
		return wal_poison(wal, "take back a failed append to the log",
		                  file->name, &wiping, err);
	if (err)
		*err = *reason;
	return rc;
}

/* Writes a record at position->appended and moves `position` behind it. */
static int write_record(struct wal *wal, struct wal_position *position,
                        uint32_t magic, uint32_t payload_size,
                        const struct span *spans, size_t span_count,
                        struct err *err)
{
	uint64_t offset = wal_segment_offset(position->segment_first,
	                                     position->appended);
	struct wal_record record = {
		.lsn = position->appended,
		.previous = position->last_checksum,
		.durable = atomic_load_explicit(&wal->shared->durable,
		                                memory_order_relaxed),
		.size = wal_record_size(payload_size),
		.payload_size = payload_size,
		.magic = magic,
	};
	struct err reason;
	int rc;

	assert(record.size <= position->segment_end - position->appended);
	if (record.size <= SMALL_SIZE)
		rc = write_small(wal, offset, position->segment_salt, &record,
		                 spans, span_count, &reason);
	else
		rc = write_large(wal, offset, position->segment_salt, &record,
		                 spans, span_count, &reason);
	if (rc)
		return wipe(wal, offset, rc, &reason, err);
	position->appended += record.size;
	position->last_checksum = record.checksum;
	assert(magic == WAL_RECORD_LAST || /* (W3) */
	       position->segment_end - position->appended >= LAST_SIZE);
	return ERR_NONE;
}

/* Closes the segment in use and enters the next, which has `room`. */
static int enter_next(struct wal *wal, struct wal_position *position,
                      uint64_t room, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	struct wal_position last = *position, next;
	int rc;

	rc = wal_next_ensure(wal, position, room, err);
	if (!rc)
		rc = write_record(wal, &last, WAL_RECORD_LAST, 0, NULL, 0,
		                  err);
	if (rc)
		return rc;
	wal_next_position(shared, position, last.last_checksum, &next);
	wal_position_publish(shared, &next);
	atomic_store(&shared->prepare_at, wal_prepare_position(&next));
	*position = next;
	return wal_file_use(wal, &wal->append, position->segment_no, err);
}

/* Beyond WAL_RECORD_PAYLOAD_MAX: too much. */
static uint64_t add_sizes(const struct span *spans, size_t span_count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < span_count; i++) {
		if (spans[i].size > WAL_RECORD_PAYLOAD_MAX)
			return UINT64_MAX;
		sum += spans[i].size;
	}
	return sum;
}

int wal_append(struct wal *wal, const struct span *spans, size_t span_count,
               uint64_t *end, struct err *err)
{
	struct wal_shared *shared = wal->shared;
	struct wal_position position;
	uint64_t payload_size = add_sizes(spans, span_count), room;
	int rc;

	if (atomic_load_explicit(&shared->failed, memory_order_acquire))
		return err_set(err, ERR_POISONED, "append to the log", "",
		               "a sync failed earlier; the database refuses "
		               "writes until every process has closed it");
	if (payload_size > WAL_RECORD_PAYLOAD_MAX)
		return err_set(err, ERR_TOOBIG, "append to the log", "",
		               "a record has at most %d bytes",
		               WAL_RECORD_PAYLOAD_MAX);
	wal_position_read(shared, &position);
	rc = wal_file_use(wal, &wal->append, position.segment_no, err);
	if (rc)
		return rc;
	room = wal_record_size(payload_size) + LAST_SIZE;
	if (room > position.segment_end - position.appended) {
		rc = enter_next(wal, &position, room, err);
		if (rc)
			return rc;
	}
	rc = wal_sync_ready(wal, &position, err);
	if (rc)
		return rc;
	rc = write_record(wal, &position, WAL_RECORD_MAGIC,
	                  (uint32_t)payload_size, spans, span_count, err);
	if (rc)
		return rc;
	wal_position_publish(shared, &position); /* (W1) */
	atomic_fetch_add_explicit(&shared->record_count, 1,
	                          memory_order_relaxed);
	*end = position.appended;
	return ERR_NONE;
}
