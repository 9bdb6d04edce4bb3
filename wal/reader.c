/*
 * reader.c - a window that moves over one segment file.
 *
 * Reads ahead in steps of 128 KB into a buffer that grows only for a record larger
 * than that, and only when its length fits into its segment. Or looks at a map:
 * then 1 MB more of the file is asked for at a time and 4 MB ahead of it are
 * announced; what the disk cannot read is an error before anybody looks.
 */
#include "wal/wal_private.h"

#include <inttypes.h>

enum { WINDOW_SIZE = 128 * 1024, MAP_STEP = 1 << 20, MAP_AHEAD = 4 << 20 };

void wal_reader_init(struct wal_reader *reader, struct heap *heap)
{
	*reader = (struct wal_reader){ .heap = heap };
}

void wal_reader_close(struct wal_reader *reader)
{
	os_close(reader->file);
	if (!reader->mapped)
		heap_free(reader->heap, reader->bytes);
	wal_reader_init(reader, reader->heap);
}

int wal_reader_open(struct wal *wal, struct wal_reader *reader,
                    const struct wal_segment *segment, struct err *err)
{
	char name[WAL_NAME_SIZE];
	struct os_file *file;
	int rc;

	wal_segment_name(name, segment->no);
	if (segment->file_size < segment->size)
		return err_set(err, ERR_CORRUPT, "read log segment", name,
		               "the file has %" PRIu64 " bytes, its header "
		               "says %" PRIu64, segment->file_size,
		               segment->size);
	rc = os_open(wal->dir, name, OS_OPEN_READ, 0, &file, err);
	if (rc)
		return rc;
	os_close(reader->file);
	reader->file = file;
	reader->options = &wal->options;
	reader->segment = *segment;
	reader->filled = 0;
	reader->offset = 0;
	reader->spent = 0;
	return ERR_NONE;
}

void wal_reader_use_map(struct wal_reader *reader, uint8_t *bytes)
{
	if (!reader->mapped)
		heap_free(reader->heap, reader->bytes);
	reader->mapped = true;
	reader->bytes = bytes;
	reader->filled = reader->announced = WAL_SEGMENT_AREA_AT;
}

void wal_reader_skip(struct wal_reader *reader, uint64_t lsn)
{
	uint64_t offset = wal_segment_offset(reader->segment.first, lsn);

	if (reader->mapped)
		reader->filled = reader->announced =
			(size_t)(offset - offset % WAL_PAGE_SIZE);
}

static int make_room(struct wal_reader *reader, uint64_t size, struct err *err)
{
	uint64_t room = size < WINDOW_SIZE ? WINDOW_SIZE : size;
	uint8_t *bytes;

	if (size <= reader->room)
		return ERR_NONE;
	bytes = heap_allocate(reader->heap, (size_t)room);
	if (!bytes)
		return err_set(err, ERR_NOMEM, "read log segment",
		               reader->file->name, "out of memory for a "
		               "record of %" PRIu64 " bytes", size);
	heap_free(reader->heap, reader->bytes);
	reader->bytes = bytes;
	reader->room = (size_t)room;
	reader->filled = 0;
	return ERR_NONE;
}

/* As far as offset + size at least; where the last reading ended. */
static int fill_map(struct wal_reader *reader, uint64_t offset, uint64_t size,
                    struct err *err)
{
	struct os *os = reader->file->os;
	uint64_t from = reader->filled, segment = reader->segment.size;
	uint64_t to = (offset + size + MAP_STEP - 1) / MAP_STEP * MAP_STEP;
	uint64_t ahead = to + MAP_AHEAD < segment ? to + MAP_AHEAD : segment;
	uint64_t announced = reader->announced;
	int rc;

	if (to > segment)
		to = segment;
	if (announced < to)
		announced = to;
	if (ahead > announced)
		os->methods->advise(os, reader->bytes + announced,
		                    (size_t)(ahead - announced),
		                    OS_ADVICE_WILL_NEED);
	reader->announced = (size_t)ahead;
	rc = os->methods->fault_in(reader->file, from, reader->bytes + from,
	                           (size_t)(to - from), err);
	if (!rc)
		reader->filled = (size_t)to;
	return rc;
}

static int fill(struct wal_reader *reader, uint64_t offset, uint64_t size,
                struct err *err)
{
	uint64_t left = reader->segment.size - offset, want;
	int rc;

	rc = make_room(reader, size, err);
	if (rc)
		return rc;
	want = left < reader->room ? left : reader->room;
	reader->filled = 0;
	rc = os_read(reader->file, offset, reader->bytes, (size_t)want, err);
	if (rc)
		return rc;
	reader->offset = offset;
	reader->filled = (size_t)want;
	return ERR_NONE;
}

static __attribute__((noinline)) int
move_window(struct wal_reader *reader, uint64_t offset, uint64_t size,
            const uint8_t **bytes, struct err *err)
{
	int rc = reader->mapped ? fill_map(reader, offset, size, err)
	                        : fill(reader, offset, size, err);

	if (!rc)
		*bytes = reader->bytes + (offset - reader->offset);
	return rc;
}

/* Borrows `size` bytes at `lsn`, within the segment, until the next call. */
static inline int look(struct wal_reader *reader, uint64_t lsn, uint64_t size,
                       const uint8_t **bytes, struct err *err)
{
	uint64_t offset = wal_segment_offset(reader->segment.first, lsn);

	if (__builtin_expect(offset < reader->offset ||
	                     offset - reader->offset + size > reader->filled,
	                     0))
		return move_window(reader, offset, size, bytes, err);
	*bytes = reader->bytes + (offset - reader->offset);
	return ERR_NONE;
}

int wal_reader_record(struct wal_reader *reader, uint64_t lsn,
                      struct wal_record *record, struct span *payload,
                      bool *holds, struct err *err)
{
	uint64_t room = reader->segment.end - lsn;
	const uint8_t *bytes;
	uint64_t wanted = lsn;
	int rc;

	*holds = false;
	if (room < WAL_RECORD_HEADER_SIZE)
		return ERR_NONE;
	rc = look(reader, lsn, WAL_RECORD_HEADER_SIZE, &bytes, err);
	if (rc)
		return rc;
	if (PLANTED(reader->options, PLANT_SALT_REPEATED))
		wanted = load_le64(bytes + WAL_RECORD_LSN_AT);
	if (!wal_record_parse(bytes, wanted, room, record))
		return rc;
	rc = look(reader, lsn, record->size, &bytes, err);
	if (rc)
		return rc;
	if (!wal_record_holds(bytes, record, reader->segment.salt) &&
	    !PLANTED(reader->options, PLANT_CHECKSUM_UNCHECKED))
		return rc;
	*payload = span_of(bytes + WAL_RECORD_HEADER_SIZE,
	                   record->payload_size);
	*holds = true;
	return ERR_NONE;
}

/* Skips what cannot begin a record, up to the end of the window. */
static uint64_t skip_implausible(const uint8_t *bytes, uint64_t lsn,
                                 uint64_t end)
{
	for (; lsn + WAL_RECORD_HEADER_SIZE <= end;
	     lsn += WAL_RECORD_ALIGNMENT, bytes += WAL_RECORD_ALIGNMENT)
		if (load_le64(bytes + WAL_RECORD_LSN_AT) == lsn)
			break;
	return lsn;
}

static uint64_t window_end(const struct wal_reader *reader)
{
	return reader->segment.first +
	       (reader->offset + reader->filled - WAL_SEGMENT_AREA_AT);
}

/* Real records do not overlap, so that those which do not hold add up to no
 * more than their segment. Made-up ones could cost a day of checksums. */
static int spend(struct wal_reader *reader, const struct wal_record *record,
                 struct err *err)
{
	reader->spent += record->size;
	if (reader->spent <= 2 * reader->segment.size)
		return ERR_NONE;
	return err_set(err, ERR_CORRUPT, "read log segment",
	               reader->file->name, "it is full of overlapping records "
	               "with wrong checksums");
}

int wal_reader_search(struct wal_reader *reader, uint64_t *lsn,
                      struct wal_record *record, bool *found, struct err *err)
{
	uint64_t at = *lsn;
	const uint8_t *bytes;
	struct span payload;
	int rc;

	*found = false;
	while (reader->segment.end - at >= WAL_RECORD_HEADER_SIZE) {
		rc = look(reader, at, WAL_RECORD_HEADER_SIZE, &bytes, err);
		if (rc)
			return rc;
		at = skip_implausible(bytes, at, window_end(reader));
		if (at + WAL_RECORD_HEADER_SIZE > window_end(reader))
			continue;
		*record = (struct wal_record){ 0 };
		rc = wal_reader_record(reader, at, record, &payload, found,
		                       err);
		if (!rc && !*found)
			rc = spend(reader, record, err);
		if (rc)
			return rc;
		if (*found) {
			*lsn = at;
			return ERR_NONE;
		}
		at += WAL_RECORD_ALIGNMENT;
	}
	return ERR_NONE;
}
