/*
 * record.c - one log record as bytes; pure.
 *
 * Why bytes that are not a record never pass for one. A killed appender leaves
 * a part of a record at the end of the log, which the next record overwrites,
 * perhaps with a shorter one; a reused file holds records of its earlier life.
 * (A1) Records of an earlier life fail their checksum: it is seeded with a salt
 * that was random when the file was last taken into use. (A2) At one position
 * under one salt at most one whole record is ever written: an append that fails
 * wipes its header out, durably, and recovery begins a new segment with a new
 * salt. (A3) What lies behind a shorter record is the inside of a longer one.
 * To hold, these bytes would have to carry their own position and a checksum
 * seeded with a salt that never leaves the log; and to be taken for the next
 * record they would have to name, as `previous`, the checksum of a record that
 * did not exist when they were written.
 */
#include "wal/wal_private.h"

#include "base/checksum.h"

void wal_record_encode(uint8_t header[WAL_RECORD_HEADER_SIZE],
                       const struct wal_record *record)
{
	store_le32(header + WAL_RECORD_MAGIC_AT, record->magic);
	store_le32(header + WAL_RECORD_PAYLOAD_SIZE_AT, record->payload_size);
	store_le64(header + WAL_RECORD_LSN_AT, record->lsn);
	store_le64(header + WAL_RECORD_PREVIOUS_AT, record->previous);
	store_le64(header + WAL_RECORD_DURABLE_AT, record->durable);
}

/* (A1) */
bool wal_record_holds(const uint8_t *bytes, const struct wal_record *record,
                      uint64_t salt)
{
	return record->checksum ==
	       checksum64(bytes + WAL_RECORD_MAGIC_AT,
	                  (size_t)record->size - WAL_RECORD_MAGIC_AT, salt);
}
