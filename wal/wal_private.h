/*
 * wal_private.h - what the files of wal/ share among themselves.
 *
 * Who may touch what in `struct wal`, without a mutex:
 *   append, sync_ready  the owner of the caller's writer lock
 *   sync, sync_older    the owner of shared->sync_claim
 *   the rest            fixed by wal_open, or used by one process alone (replay, start)
 */
#ifndef TURDB_WAL_WAL_PRIVATE_H
#define TURDB_WAL_WAL_PRIVATE_H

#include "base/plant.h"
#include "wal/wal.h"
#include "wal/wal_format.h"

enum { WAL_NAME_SIZE = 24 };

/* Bytes that a record can be padded with, up to the end of its page. */
enum { WAL_PAGE_SIZE = 4096 };

/* A segment file kept open from one use to the next. */
struct wal_file {
	struct os_file *file;
	uint32_t no;
};

struct wal {
	struct os_file *dir;
	struct heap *heap;
	struct wal_shared *shared;
	struct wal_options options;
	struct wal_file append;
	struct wal_file sync, sync_older;
	uint32_t sync_ready;    /* the segment whose sync can begin at once   */
	_Atomic uint64_t begun; /* position up to which wal_sync_begin() went */
	int32_t watches;        /* in vain, of the last; below 0: left out,
	                           up to 0. By who leads a sync               */
	uint64_t replayed_from; /* segments before it may be reused at start */
};

/* record.c: one record as bytes; pure. */

struct wal_record {
	uint64_t lsn, previous, durable, checksum;
	uint64_t size;         /* header, payload and padding */
	uint32_t payload_size;
	uint32_t magic;
};

static inline uint64_t wal_record_size(uint64_t payload_size)
{
	return (WAL_RECORD_HEADER_SIZE + payload_size +
	        WAL_RECORD_ALIGNMENT - 1) &
	       ~(uint64_t)(WAL_RECORD_ALIGNMENT - 1);
}

/* Fills the header but for its checksum. */
void wal_record_encode(uint8_t header[WAL_RECORD_HEADER_SIZE],
                       const struct wal_record *record);

/* Whether a header could be that of a record at `lsn` with `room` bytes up to
 * the end of its segment; says nothing about its checksum. */
static inline bool
wal_record_parse(const uint8_t header[WAL_RECORD_HEADER_SIZE], uint64_t lsn,
                 uint64_t room, struct wal_record *record)
{
	uint32_t magic = load_le32(header + WAL_RECORD_MAGIC_AT);
	uint32_t payload = load_le32(header + WAL_RECORD_PAYLOAD_SIZE_AT);
	uint64_t durable = load_le64(header + WAL_RECORD_DURABLE_AT);

	if (magic != WAL_RECORD_MAGIC &&
	    (magic != WAL_RECORD_LAST || payload != 0))
		return false;
	if (load_le64(header + WAL_RECORD_LSN_AT) != lsn || durable > lsn)
		return false;
	if (payload > WAL_RECORD_PAYLOAD_MAX || wal_record_size(payload) > room)
		return false;
	*record = (struct wal_record){
		.lsn = lsn,
		.previous = load_le64(header + WAL_RECORD_PREVIOUS_AT),
		.durable = durable,
		.checksum = load_le64(header + WAL_RECORD_CHECKSUM_AT),
		.size = wal_record_size(payload),
		.payload_size = payload,
		.magic = magic,
	};
	return true;
}

/* Whether all record->size bytes are those the checksum was made of. */
bool wal_record_holds(const uint8_t *bytes, const struct wal_record *record,
                      uint64_t salt);

/* segment.c: one segment file. */

struct wal_segment {
	uint64_t first, end; /* positions it holds: [first, end) */
	uint64_t start;
	uint64_t salt;
	uint64_t size;       /* of the file, as its header says  */
	uint64_t file_size;  /* as the file system says          */
	uint64_t database;
	uint32_t no;
	uint32_t flags;
	bool valid;          /* it has a header; else only no and file_size */
};

void wal_segment_name(char name[WAL_NAME_SIZE], uint32_t no);

void wal_segment_encode(uint8_t header[WAL_SEGMENT_HEADER_SIZE],
                        const struct wal_segment *segment);

/* Checks one copy of a header. ERR_NONE with segment->valid false: it is none. */
int wal_segment_parse(const uint8_t header[WAL_SEGMENT_HEADER_SIZE],
                      const char *name, struct wal_segment *segment,
                      struct err *err);

/* File offset of a position. */
static inline uint64_t wal_segment_offset(uint64_t first, uint64_t lsn)
{
	return WAL_SEGMENT_AREA_AT + (lsn - first);
}

/* Reads what file `no` is; `exists` is false for what is not a segment of this
 * log at all (another kind of node, a file copied under this name). */
int wal_segment_read(struct wal *wal, uint32_t no, struct wal_segment *segment,
                     bool *exists, struct err *err);

/* Whether the record area holds nothing but zeros. */
int wal_segment_is_blank(struct wal *wal, uint32_t no, bool *blank,
                         struct err *err);

/*
 * Makes `segment` (first, size, start, flags, no) real and durable: a file that
 * exists with `file_size` bytes is taken as it is, one with file_size 0 is
 * created. Grows it to `size`, writing zeros up to `zero_size`. Sets salt and
 * end. After a failure the file is gone, or as good as gone.
 */
int wal_segment_make(struct wal *wal, struct wal_segment *segment,
                     uint64_t zero_size, struct err *err);

int wal_segment_unlink(struct wal *wal, uint32_t no, struct err *err);

/* Opens segment `no` in `file` unless it is open there already. */
int wal_file_use(struct wal *wal, struct wal_file *file, uint32_t no,
                 struct err *err);
void wal_file_close(struct wal_file *file);
void wal_files_close(struct wal *wal);

extern const uint8_t wal_zeros[2 * WAL_PAGE_SIZE];

/* list.c: the segments on disk. */

struct wal_list {
	struct wal_segment *items; /* valid ones first, by position */
	size_t count, valid_count, room;
	uint32_t last_no;          /* the highest number seen in a name */
};

int wal_list_read(struct wal *wal, struct wal_list *list, struct err *err);
void wal_list_close(struct wal *wal, struct wal_list *list);

/* ERR_CORRUPT when a file without a header holds something. */
int wal_list_check_damage(struct wal *wal, const struct wal_list *list,
                          struct err *err);

/* place.c: where the next record goes, and claims. */

struct wal_position {
	uint64_t appended, last_checksum;
	uint64_t segment_first, segment_end, segment_salt, previous_first;
	uint32_t segment_no, previous_no;
};

/* A whole one, from any thread. */
void wal_position_read(struct wal_shared *shared,
                       struct wal_position *position);
/* By the owner of the writer lock; all at once. */
void wal_position_publish(struct wal_shared *shared,
                          const struct wal_position *position);

/* Takes a claim that is free, or whose owner is dead when `look` says to ask.
 * 0 = not had; else the token to release it with. */
uint64_t wal_claim_take(struct wal *wal, struct wal_claim *claim, bool look);
void wal_claim_release(struct wal_claim *claim, uint64_t token);
/* Ends what an earlier process of our index left claimed. */
void wal_claim_forget(struct wal *wal, struct wal_claim *claim);

/* Raises `durable`, never lowers it. */
void wal_durable_raise(struct wal_shared *shared, uint64_t lsn);

/* Poisons the log and returns ERR_OUTCOME, with `reason`'s sentence within. */
int wal_poison(struct wal *wal, const char *operation, const char *resource,
               const struct err *reason, struct err *err);

/* sync.c: for the owner of the writer lock, before it writes a record into the
 * segment in use: opens what the sync of that record will need. (wal/sync Y5) */
int wal_sync_ready(struct wal *wal, const struct wal_position *position,
                   struct err *err);

/* next.c: the segment to come. */

/* Whether a segment with `room` bytes for records is ready behind `position`. */
bool wal_next_is_ready(const struct wal_shared *shared,
                       const struct wal_position *position, uint64_t room);

/* For the owner of the writer lock: makes sure of it, whatever it takes. */
int wal_next_ensure(struct wal *wal, const struct wal_position *position,
                    uint64_t room, struct err *err);

/* The position at the start of the next segment, which is ready. */
void wal_next_position(const struct wal_shared *shared,
                       const struct wal_position *position,
                       uint64_t last_checksum, struct wal_position *next);

/* Takes the files claim, waiting for its owner. */
uint64_t wal_files_take(struct wal *wal);
void wal_files_release(struct wal *wal, uint64_t token);

/* The position at which wal_prepare begins to work for a segment. */
static inline uint64_t wal_prepare_position(const struct wal_position *at)
{
	return at->segment_first + (at->segment_end - at->segment_first) / 2;
}

/* map.c: segment files side by side in address space. */

struct wal_map {
	struct os *os;
	uint8_t *bytes; /* of the whole; NULL when it has none */
	size_t size;
};

/* Address space for the segments with a header; *offset of item i is at[i]. */
int wal_map_open(struct wal *wal, const struct wal_list *list,
                 struct wal_map *map, size_t *at, struct err *err);
void wal_map_close(struct wal_map *map);
/* Lays a segment there. */
int wal_map_segment(struct wal_map *map, size_t at, struct os_file *file,
                    const struct wal_segment *segment, struct err *err);

/* reader.c: a window that moves over one segment file. */

struct wal_reader {
	struct heap *heap;
	const struct wal_options *options;
	struct os_file *file;
	struct wal_segment segment;
	bool mapped;     /* `bytes` is the segment, known to be readable as far
	                    as `filled`; else a buffer */
	uint8_t *bytes;
	size_t room;     /* of `bytes`                    */
	uint64_t offset; /* in the file, of bytes[0]      */
	size_t filled;
	size_t announced; /* mapped: the disk was asked for what is before  */
	uint64_t spent;   /* bytes of records that did not hold, in a search */
};

void wal_reader_init(struct wal_reader *reader, struct heap *heap);
int wal_reader_open(struct wal *wal, struct wal_reader *reader,
                    const struct wal_segment *segment, struct err *err);
/* The open segment lies at `bytes` in a map. */
void wal_reader_use_map(struct wal_reader *reader, uint8_t *bytes);
/* Nothing before that position will be looked at. */
void wal_reader_skip(struct wal_reader *reader, uint64_t lsn);
void wal_reader_close(struct wal_reader *reader);

/* Reads the record at `lsn`; *holds tells whether there is one. `payload` is
 * borrowed until the next call. */
int wal_reader_record(struct wal_reader *reader, uint64_t lsn,
                      struct wal_record *record, struct span *payload,
                      bool *holds, struct err *err);

/* Finds the next record that holds at or after *lsn in the segment. */
int wal_reader_search(struct wal_reader *reader, uint64_t *lsn,
                      struct wal_record *record, bool *found, struct err *err);

#endif
