/*
 * page_file_write.c - images written by pwrite, behind the readers' backs.
 *
 * An image goes to a place that no reader knows yet, and counts as verified from
 * then on. The map shows it at once: both are the page cache.
 */
#include "vfs/page_file.h"

#include "base/bytes.h"

enum {
	SPANS_MAX = 16,
	WRITE_BACK_SIZE = 512 << 10,
};

int page_file_writable_check(const struct page_file *file, struct err *err)
{
	if (file->writable)
		return ERR_NONE;
	return err_set(err, ERR_READONLY, "write to", page_file_name(file),
	               "it could only be opened for reading: its owner, its permissions or the mount forbid writing");
}

int page_file_write_ready(struct page_file *file, const struct page_ref *ref,
                          struct err *err)
{
	bool within;
	int rc = page_file_writable_check(file, err);

	if (rc)
		return rc;
	assert(ref->length && ref->length % PLACE_SIZE == 0);
	assert(ref->place >= FILE_FIRST_PLACE);
	rc = page_file_reach(file, ref, &within, err);
	if (rc)
		return rc;
	if (!within)
		return err_set(err, ERR_CORRUPT, "write to",
		               page_file_name(file),
		               "place %u (%u bytes) lies beyond its end at place "
		               "%llu", ref->place, ref->length,
		               (unsigned long long)file->units);
	return ERR_NONE;
}

int page_file_write(struct page_file *file, const struct page_ref *ref,
                    const void *bytes, struct err *err)
{
	return page_file_write_many(file, ref, &bytes, 1, err);
}

/* How many of the images, from the first on, lie one behind the other. */
static size_t count_adjoining(const struct page_ref *refs, size_t count)
{
	size_t n = 1;

	while (n < count && n < SPANS_MAX &&
	       refs[n].place == refs[n - 1].place +
	                        refs[n - 1].length / PLACE_SIZE)
		n++;
	return n;
}

static int write_run(struct page_file *file, const struct page_ref *refs,
                     const void *const *bytes, size_t count, struct err *err)
{
	struct span spans[SPANS_MAX];
	int rc;

	for (size_t i = 0; i < count; i++) {
		rc = page_file_write_ready(file, &refs[i], err);
		if (rc)
			return rc;
		spans[i] = span_of(bytes[i], refs[i].length);
	}
	rc = os_write_spans(file->os_file, (uint64_t)refs[0].place * PLACE_SIZE,
	                    spans, count, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < count; i++)
		page_file_remember(file, &refs[i]);
	return ERR_NONE;
}

int page_file_write_many(struct page_file *file, const struct page_ref *refs,
                         const void *const *bytes, size_t count,
                         struct err *err)
{
	while (count) {
		size_t n = count_adjoining(refs, count);
		int rc = write_run(file, refs, bytes, n, err);

		if (rc)
			return rc;
		refs += n;
		bytes += n;
		count -= n;
	}
	return ERR_NONE;
}

/* --- to the disk ---------------------------------------------------------- */

int page_file_sync(struct page_file *file, struct err *err)
{
	return os_sync(file->os_file, err);
}

int page_file_write_back(struct page_file *file, struct err *err)
{
	struct os_file *os_file = file->os_file;
	const struct os_methods *os = os_file->os->methods;
	uint64_t size;
	int rc = ERR_NONE;

	if (!os->write_back || os->size(os_file, &size, err))
		return ERR_NONE;
	for (uint64_t at = 0; at < size && !rc; at += WRITE_BACK_SIZE)
		rc = os->write_back(os_file, at, WRITE_BACK_SIZE, err);
	return rc;
}

void page_file_write_start(struct page_file *file, uint32_t place,
                           uint32_t units)
{
	const struct os_methods *os = file->os_file->os->methods;

	if (os->write_back_begin)
		os->write_back_begin(file->os_file,
		                     (uint64_t)place * PLACE_SIZE,
		                     (uint64_t)units * PLACE_SIZE);
}
