/*
 * page_file_header.c - what a page file begins with, written once and compared with
 * what the catalog says at every opening.
 */
#include "vfs/page_file_private.h"

#include <string.h>

#include "base/checksum.h"
#include "base/os.h"

static void header_encode(const struct page_file_identity *identity,
                          uint8_t header[FILE_HEADER_SIZE])
{
	memset(header, 0, FILE_HEADER_SIZE);
	store_le64(header + FILE_MAGIC_AT, FILE_MAGIC);
	store_le32(header + FILE_VERSION_AT, FILE_VERSION);
	store_le32(header + FILE_ID_AT, identity->file_id);
	store_le64(header + FILE_DATABASE_AT, identity->database[0]);
	store_le64(header + FILE_DATABASE_AT + 8, identity->database[1]);
	store_le32(header + FILE_PAGE_SIZE_AT, identity->page_size);
	store_le32(header + FILE_KIND_AT, identity->kind);
	store_le64(header + FILE_BIRTH_AT, identity->birth);
	memcpy(header + FILE_HINT_AT, identity->hint, sizeof identity->hint);
	store_le64(header + FILE_CHECKSUM_AT,
	           checksum64(header, FILE_CHECKSUM_AT, FILE_MAGIC));
}

/* That these bytes are a file header of a version we know. */
static int header_check(const uint8_t header[FILE_HEADER_SIZE],
                        const char *name, struct err *err)
{
	uint64_t magic = load_le64(header + FILE_MAGIC_AT);
	uint64_t stored = load_le64(header + FILE_CHECKSUM_AT);
	uint64_t computed = checksum64(header, FILE_CHECKSUM_AT, FILE_MAGIC);
	uint32_t version = load_le32(header + FILE_VERSION_AT);

	if (magic != FILE_MAGIC)
		return err_set(err, ERR_CORRUPT, "open", name,
		               "it does not begin with a page file's header "
		               "(magic is %016llx)", (unsigned long long)magic);
	if (computed != stored)
		return err_set(err, ERR_CORRUPT, "open", name,
		               "header checksum is %016llx, stored %016llx",
		               (unsigned long long)computed,
		               (unsigned long long)stored);
	if (version > FILE_VERSION)
		return err_set(err, ERR_VERSION, "open", name,
		               "its format version is %u, this library knows %d",
		               version, FILE_VERSION);
	if (version == 0 || load_le64(header + FILE_ZERO_AT) != 0)
		return err_set(err, ERR_CORRUPT, "open", name,
		               "its header has impossible values (version %u)",
		               version);
	return ERR_NONE;
}

static int header_differs(const char *name, const char *what, uint64_t found,
                          uint64_t wanted, struct err *err)
{
	return err_set(err, ERR_CORRUPT, "open", name,
	               "its header says %s %llu, the catalog says %llu", what,
	               (unsigned long long)found, (unsigned long long)wanted);
}

/* That the header is that of the file the catalog means. The hint is for
 * people and may differ. */
static int header_compare(const uint8_t header[FILE_HEADER_SIZE],
                          const struct page_file_identity *want,
                          struct err *err)
{
	uint64_t database[2] = { load_le64(header + FILE_DATABASE_AT),
		                 load_le64(header + FILE_DATABASE_AT + 8) };
	uint32_t file_id = load_le32(header + FILE_ID_AT);
	uint32_t kind = load_le32(header + FILE_KIND_AT);
	uint32_t page_size = load_le32(header + FILE_PAGE_SIZE_AT);
	uint64_t birth = load_le64(header + FILE_BIRTH_AT);

	if (memcmp(database, want->database, sizeof database) != 0)
		return err_set(err, ERR_CORRUPT, "open", want->name,
		               "it belongs to another database "
		               "(%016llx%016llx, not %016llx%016llx)",
		               (unsigned long long)database[1],
		               (unsigned long long)database[0],
		               (unsigned long long)want->database[1],
		               (unsigned long long)want->database[0]);
	if (file_id != want->file_id)
		return header_differs(want->name, "file id", file_id,
		                      want->file_id, err);
	if (kind != want->kind)
		return header_differs(want->name, "kind", kind, want->kind,
		                      err);
	if (page_size != want->page_size)
		return header_differs(want->name, "page size", page_size,
		                      want->page_size, err);
	if (birth != want->birth)
		return header_differs(want->name, "birth", birth, want->birth,
		                      err);
	return ERR_NONE;
}

int page_file_header_check(struct page_file *file, struct err *err)
{
	uint8_t header[FILE_HEADER_SIZE];
	int rc;

	rc = os_read(file->os_file, 0, header, sizeof header, err);
	if (rc)
		return rc;
	rc = header_check(header, page_file_name(file), err);
	if (rc)
		return rc;
	return header_compare(header, &file->identity, err);
}

int page_file_header_write(struct page_file *file, struct err *err)
{
	uint8_t header[FILE_HEADER_SIZE];

	if (page_file_writable_check(file, err))
		return ERR_READONLY;
	header_encode(&file->identity, header);
	return os_write(file->os_file, 0, header, sizeof header, err);
}
