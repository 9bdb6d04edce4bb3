/*
 * page_fixture.h - a page file in a directory of its own, for tests.
 */
#ifndef TURDB_TEST_VFS_PAGE_FIXTURE_H
#define TURDB_TEST_VFS_PAGE_FIXTURE_H

#include "test/harness.h"

#include "base/heap.h"
#include "base/os.h"
#include "vfs/page_file.h"

struct page_fixture {
	struct heap heap;
	struct os *os;
	struct os_file *dir;
	struct page_file *file;
	struct page_file_identity identity;
};

/* Makes the file; false when the test has failed. */
static inline bool page_fixture_open(struct test *t, struct page_fixture *f,
                                     uint32_t page_size)
{
	char path[256];
	int rc;

	test_directory(t, path);
	if (t->failed)
		return false;
	memset(f, 0, sizeof *f);
	heap_init(&f->heap);
	f->identity = (struct page_file_identity){
		.file_id = 7, .kind = 3, .page_size = page_size, .birth = 5,
		.database = { 0x1122334455667788, 0x99aabbccddeeff00 },
		.hint = "users", .name = "7-users.tbd", .header = true,
	};
	rc = os_posix_open(&f->heap, &f->os, &t->err);
	if (!rc)
		rc = f->os->methods->directory_open(f->os, path, &f->dir,
		                                    &t->err);
	if (!rc)
		rc = page_file_create(f->dir, &f->heap, &f->identity, 0600,
		                      &f->file, &t->err);
	if (rc)
		test_fail(t, __FILE__, __LINE__, "%s", t->err.text);
	return !rc;
}

/* Everything is given back: the heap must be empty. */
static inline void page_fixture_close(struct test *t, struct page_fixture *f)
{
	page_file_close(f->file);
	os_close(f->dir);
	os_posix_close(f->os);
	EXPECT_EQ(t, f->heap.used, 0);
}

#endif
