/*
 * segment.c - one segment file: its header, its making, its end.
 *
 * Making is the same for a new file and for one used again: bring the file to
 * its full size (space allocated, zeros written, so that later syncs change no
 * metadata), sync it, write the header, sync it and the directory. (S1) A valid
 * header thus means that the file has its size: a shorter one was cut by
 * somebody. (S2) No record enters before all of this is durable. The zeros of a
 * reused file are not written again: its blocks exist, and its old bytes fail
 * under the new salt.
 */
#include "wal/wal_private.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/checksum.h"

enum { ZERO_SPANS = 32 };

const uint8_t wal_zeros[2 * WAL_PAGE_SIZE];

void wal_segment_name(char name[WAL_NAME_SIZE], uint32_t no)
{
	snprintf(name, WAL_NAME_SIZE, "wal/wal.%06" PRIu32, no);
}

/* The header */

void wal_segment_encode(uint8_t header[WAL_SEGMENT_HEADER_SIZE],
                        const struct wal_segment *segment)
{
	store_le32(header + WAL_SEGMENT_MAGIC_AT, WAL_SEGMENT_MAGIC);
	store_le32(header + WAL_SEGMENT_VERSION_AT, WAL_SEGMENT_VERSION);
	store_le64(header + WAL_SEGMENT_FIRST_AT, segment->first);
	store_le64(header + WAL_SEGMENT_START_AT, segment->start);
	store_le64(header + WAL_SEGMENT_SALT_AT, segment->salt);
	store_le64(header + WAL_SEGMENT_SIZE_AT, segment->size);
	store_le64(header + WAL_SEGMENT_DATABASE_AT, segment->database);
	store_le32(header + WAL_SEGMENT_NUMBER_AT, segment->no);
	store_le32(header + WAL_SEGMENT_FLAGS_AT, segment->flags);
	store_le64(header + WAL_SEGMENT_CHECKSUM_AT,
	           checksum64(header, WAL_SEGMENT_CHECKSUM_AT, 0));
}

static const char *find_fault(const struct wal_segment *segment)
{
	if (segment->size < WAL_SEGMENT_SIZE_MIN ||
	    segment->size > WAL_SEGMENT_SIZE_MAX ||
	    segment->size % WAL_SEGMENT_ALIGNMENT)
		return "size";
	if (segment->first > WAL_LSN_MAX ||
	    segment->first % WAL_RECORD_ALIGNMENT)
		return "first position";
	if (segment->start > segment->first)
		return "start";
	if (segment->flags & ~(uint32_t)WAL_SEGMENT_STARTED)
		return "flags";
	return NULL;
}

int wal_segment_parse(const uint8_t header[WAL_SEGMENT_HEADER_SIZE],
                      const char *name, struct wal_segment *segment,
                      struct err *err)
{
	uint32_t version = load_le32(header + WAL_SEGMENT_VERSION_AT);
	const char *fault;

	segment->valid = false;
	if (load_le32(header + WAL_SEGMENT_MAGIC_AT) != WAL_SEGMENT_MAGIC ||
	    load_le64(header + WAL_SEGMENT_CHECKSUM_AT) !=
	    checksum64(header, WAL_SEGMENT_CHECKSUM_AT, 0))
		return ERR_NONE;
	if (version != WAL_SEGMENT_VERSION)
		return err_set(err, ERR_VERSION, "open log segment", name,
		               "its format is version %" PRIu32 ", this "
		               "library knows %d", version,
		               WAL_SEGMENT_VERSION);
	segment->first = load_le64(header + WAL_SEGMENT_FIRST_AT);
	segment->start = load_le64(header + WAL_SEGMENT_START_AT);
	segment->salt = load_le64(header + WAL_SEGMENT_SALT_AT);
	segment->size = load_le64(header + WAL_SEGMENT_SIZE_AT);
	segment->database = load_le64(header + WAL_SEGMENT_DATABASE_AT);
	segment->no = load_le32(header + WAL_SEGMENT_NUMBER_AT);
	segment->flags = load_le32(header + WAL_SEGMENT_FLAGS_AT);
	fault = find_fault(segment);
	if (fault)
		return err_set(err, ERR_CORRUPT, "open log segment", name,
		               "the %s in its header is impossible", fault);
	segment->end = segment->first + segment->size - WAL_SEGMENT_AREA_AT;
	segment->valid = true;
	return ERR_NONE;
}

/* The file */

static int parse_either_copy(struct os_file *file, const char *name,
                             struct wal_segment *segment, struct err *err)
{
	static const uint16_t copies[] = { 0, WAL_SEGMENT_COPY_AT };
	uint8_t header[WAL_SEGMENT_HEADER_SIZE];
	int rc = ERR_NONE;

	segment->valid = false;
	for (size_t i = 0; i < 2 && !rc && !segment->valid; i++) {
		size_t got;

		rc = os_read_some(file, copies[i], header, sizeof header, &got,
		                  err);
		if (!rc && got == sizeof header)
			rc = wal_segment_parse(header, name, segment, err);
	}
	return rc;
}

/* A link, a pipe or a directory under a segment's name was not made by us. What it
 * has taken the place of may hold commits: nobody could tell. */
static int is_regular(struct wal *wal, const char *name, bool *regular,
                      struct err *err)
{
	struct os_identity identity;
	int rc;

	rc = wal->dir->os->methods->identify(wal->dir->os, wal->dir, name,
	                                     &identity, err);
	if (rc)
		return rc;
	if (identity.kind != OS_NODE_FILE && identity.kind != OS_NODE_MISSING)
		return err_set(err, ERR_CANTOPEN, "open log segment", name,
		               "it is not a regular file");
	*regular = identity.kind == OS_NODE_FILE;
	return ERR_NONE;
}

int wal_segment_read(struct wal *wal, uint32_t no, struct wal_segment *segment,
                     bool *exists, struct err *err)
{
	struct wal_segment found = { .no = no };
	char name[WAL_NAME_SIZE];
	struct os_file *file;
	bool regular = false;
	int rc;

	wal_segment_name(name, no);
	*exists = false;
	rc = is_regular(wal, name, &regular, err);
	if (rc || !regular)
		return rc;
	rc = os_open(wal->dir, name, OS_OPEN_READ, 0, &file, err);
	if (rc)
		return rc == ERR_MISSING ? ERR_NONE : rc;
	rc = file->os->methods->size(file, &found.file_size, err);
	if (!rc)
		rc = parse_either_copy(file, name, &found, err);
	os_close(file);
	if (rc)
		return rc;
	if (found.valid && found.database != wal->options.database)
		return err_set(err, ERR_CORRUPT, "open log segment", name,
		               "it belongs to another database (%016" PRIx64
		               ", not %016" PRIx64 ")", found.database,
		               wal->options.database);
	if (found.valid && found.no != no)
		return err_set(err, ERR_CORRUPT, "open log segment", name,
		               "it is a copy of segment %" PRIu32, found.no);
	found.no = no;
	*segment = found;
	*exists = true;
	return ERR_NONE;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	uint8_t any = 0;

	for (size_t i = 0; i < size; i++)
		any |= bytes[i];
	return any == 0;
}

int wal_segment_is_blank(struct wal *wal, uint32_t no, bool *blank,
                         struct err *err)
{
	uint64_t offset = WAL_SEGMENT_AREA_AT;
	uint8_t bytes[WAL_PAGE_SIZE];
	char name[WAL_NAME_SIZE];
	struct os_file *file;
	size_t got;
	int rc;

	wal_segment_name(name, no);
	rc = os_open(wal->dir, name, OS_OPEN_READ, 0, &file, err);
	if (rc)
		return rc;
	*blank = true;
	do {
		rc = os_read_some(file, offset, bytes, sizeof bytes, &got, err);
		*blank = !rc && all_zero(bytes, got);
		offset += got;
	} while (*blank && got == sizeof bytes);
	os_close(file);
	return rc;
}

/* Making */

static int write_zeros(struct os_file *file, uint64_t from, uint64_t to,
                       struct err *err)
{
	int rc = ERR_NONE;

	while (from < to && !rc) {
		struct span spans[ZERO_SPANS];
		uint64_t start = from;
		size_t count = 0;

		while (from < to && count < ZERO_SPANS) {
			uint64_t size = to - from < sizeof wal_zeros ?
				to - from : sizeof wal_zeros;

			spans[count++] = span_of(wal_zeros, (size_t)size);
			from += size;
		}
		rc = os_write_spans(file, start, spans, count, err);
	}
	return rc;
}

static int grow(struct os_file *file, const struct wal_segment *segment,
                uint64_t zero_size, struct err *err)
{
	uint64_t old = segment->file_size;
	int rc;

	if (old >= segment->size)
		return ERR_NONE;
	rc = file->os->methods->allocate(file, old, segment->size - old, err);
	if (!rc)
		rc = write_zeros(file, old, zero_size, err);
	if (!rc)
		rc = os_sync(file, err);
	return rc;
}

static int write_header(struct os_file *file,
                        const struct wal_segment *segment, struct err *err)
{
	uint8_t block[WAL_SEGMENT_AREA_AT] = { 0 };
	int rc;

	wal_segment_encode(block, segment);
	wal_segment_encode(block + WAL_SEGMENT_COPY_AT, segment);
	rc = os_write(file, 0, block, sizeof block, err);
	return rc ? rc : os_sync(file, err); /* (S2) */
}

static void pick_salt(struct wal *wal, struct wal_segment *segment)
{
	struct os *os = wal->dir->os;

	do
		os->methods->random(os, &segment->salt, sizeof segment->salt);
	while (!segment->salt);
	if (PLANTED(&wal->options, PLANT_SALT_REPEATED))
		segment->salt = 1;
}

int wal_segment_make(struct wal *wal, struct wal_segment *segment,
                     uint64_t zero_size, struct err *err)
{
	unsigned flags = OS_OPEN_WRITE;
	char name[WAL_NAME_SIZE];
	struct os_file *file;
	int rc;

	if (segment->file_size == 0)
		flags |= OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE |
		         OS_OPEN_MODE_EXACT;
	wal_segment_name(name, segment->no);
	rc = os_open(wal->dir, name, flags, wal->options.mode, &file, err);
	if (rc)
		return rc;
	pick_salt(wal, segment);
	segment->database = wal->options.database;
	rc = grow(file, segment, zero_size, err); /* (S1) */
	if (!rc)
		rc = write_header(file, segment, err);
	os_close(file);
	if (!rc && !PLANTED(&wal->options, PLANT_SEGMENT_DIR_UNSYNCED))
		rc = wal->dir->os->methods->directory_sync(wal->dir, "wal",
		                                           err);
	if (rc) {
		wal_segment_unlink(wal, segment->no, NULL);
		return rc;
	}
	segment->end = segment->first + segment->size - WAL_SEGMENT_AREA_AT;
	segment->valid = true;
	return ERR_NONE;
}

int wal_segment_unlink(struct wal *wal, uint32_t no, struct err *err)
{
	char name[WAL_NAME_SIZE];

	wal_segment_name(name, no);
	return wal->dir->os->methods->unlink(wal->dir, name, err);
}

/* Files kept open */

void wal_file_close(struct wal_file *file)
{
	os_close(file->file);
	*file = (struct wal_file){ 0 };
}

void wal_files_close(struct wal *wal)
{
	wal_file_close(&wal->append);
	wal_file_close(&wal->sync);
	wal_file_close(&wal->sync_older);
	wal->sync_ready = 0;
}

int wal_file_use(struct wal *wal, struct wal_file *file, uint32_t no,
                 struct err *err)
{
	char name[WAL_NAME_SIZE];
	struct os_file *opened;
	int rc;

	if (file->file && file->no == no)
		return ERR_NONE;
	wal_segment_name(name, no);
	rc = os_open(wal->dir, name, OS_OPEN_WRITE, 0, &opened, err);
	if (rc)
		return rc;
	wal_file_close(file);
	*file = (struct wal_file){ .file = opened, .no = no };
	return ERR_NONE;
}
