/*
 * wal_fuzz.c - replays logs made of arbitrary bytes.
 *
 * An input is a byte that chooses where the replay begins, then segments of
 * CUT bytes each: a header and the first bytes of a record area. Each becomes a
 * file of 8 KB, its header doubled, the rest zeros. The mutator mends checksums,
 * positions and chains three times out of four, so that what it changed is
 * looked at and not only refused.
 *
 * Whatever the bytes: no call reads beyond what is there (the sanitizers watch);
 * records come in rising positions, inside their segments; the same log gives
 * the same answer twice; after a start, what is appended comes back alone.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "test/fuzz/fuzz.h"
#include "wal/wal_private.h"

enum {
	FILES_MAX = 8,
	CUTS_MAX = 4,
	AREA_CUT = 1024,
	CUT = WAL_SEGMENT_HEADER_SIZE + AREA_CUT,
	FILE_SIZE = WAL_SEGMENT_SIZE_MIN,
	DATABASE = 0x5eed,
};

/* A directory of a few files in memory. */

struct node {
	char name[32];
	uint8_t *bytes;
	size_t size;
};

static struct node nodes[FILES_MAX];

struct handle {
	struct os_file file;
	struct node *node;
};

static struct node *find_node(const char *name)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		if (nodes[i].bytes && strcmp(nodes[i].name, name) == 0)
			return &nodes[i];
	return NULL;
}

static struct node *make_node(const char *name, size_t size)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		if (nodes[i].bytes)
			continue;
		snprintf(nodes[i].name, sizeof nodes[i].name, "%s", name);
		nodes[i].bytes = calloc(1, size + 1);
		nodes[i].size = size;
		return &nodes[i];
	}
	return NULL;
}

static void drop_nodes(void)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		free(nodes[i].bytes);
		nodes[i].bytes = NULL;
	}
}

static int mem_list(struct os_file *dir, const char *name,
                    int (*each)(void *context, const char *entry),
                    void *context, struct err *err)
{
	int rc = ERR_NONE;

	(void)dir, (void)name, (void)err;
	for (size_t i = 0; i < FILES_MAX && !rc; i++)
		if (nodes[i].bytes)
			rc = each(context, nodes[i].name + 4);
	return rc;
}

static int mem_directory_sync(struct os_file *dir, const char *name,
                              struct err *err)
{
	(void)dir, (void)name, (void)err;
	return ERR_NONE;
}

static int mem_identify(struct os *os, struct os_file *dir, const char *path,
                        struct os_identity *identity, struct err *err)
{
	(void)os, (void)dir, (void)err;
	identity->kind = strcmp(path, "wal") == 0 ? OS_NODE_DIRECTORY :
		find_node(path) ? OS_NODE_FILE : OS_NODE_MISSING;
	return ERR_NONE;
}

static int mem_unlink(struct os_file *dir, const char *name, struct err *err)
{
	struct node *node = find_node(name);

	(void)dir;
	if (!node)
		return err_set(err, ERR_MISSING, "unlink", name, "missing");
	free(node->bytes);
	node->bytes = NULL;
	return ERR_NONE;
}

static int mem_open(struct os_file *dir, const char *name, unsigned flags,
                    uint32_t mode, struct os_file **file, struct err *err)
{
	struct node *node = find_node(name);
	struct handle *handle;

	(void)mode;
	if (node && flags & OS_OPEN_EXCLUSIVE)
		return err_set(err, ERR_EXISTS, "open", name, "exists");
	if (!node && flags & OS_OPEN_CREATE)
		node = make_node(name, 0);
	if (!node)
		return err_set(err, ERR_MISSING, "open", name, "missing");
	handle = calloc(1, sizeof *handle);
	FUZZ_MUST(handle);
	handle->file.os = dir->os;
	snprintf(handle->file.name, sizeof handle->file.name, "%s", name);
	handle->node = node;
	*file = &handle->file;
	return ERR_NONE;
}

static void mem_close(struct os_file *file)
{
	free(file);
}

static struct node *node_of(struct os_file *file)
{
	return ((struct handle *)file)->node;
}

static int mem_read(struct os_file *file, uint64_t offset, void *bytes,
                    size_t size, size_t *got, struct err *err)
{
	const struct node *node = node_of(file);
	size_t there = offset >= node->size ? 0 : node->size - (size_t)offset;

	if (there > size)
		there = size;
	if (there)
		memcpy(bytes, node->bytes + offset, there);
	if (got)
		*got = there;
	else if (there < size)
		return err_set(err, ERR_CORRUPT, "read", file->name, "short");
	return ERR_NONE;
}

static int mem_allocate(struct os_file *file, uint64_t offset, uint64_t size,
                        struct err *err)
{
	struct node *node = node_of(file);
	size_t end = (size_t)(offset + size);

	(void)err;
	if (end <= node->size)
		return ERR_NONE;
	node->bytes = realloc(node->bytes, end);
	FUZZ_MUST(node->bytes);
	memset(node->bytes + node->size, 0, end - node->size);
	node->size = end;
	return ERR_NONE;
}

static int mem_write(struct os_file *file, uint64_t offset,
                     const struct span *spans, size_t span_count,
                     struct err *err)
{
	for (size_t i = 0; i < span_count; i++) {
		mem_allocate(file, offset, spans[i].size, err);
		memcpy(node_of(file)->bytes + offset, spans[i].data,
		       spans[i].size);
		offset += spans[i].size;
	}
	return ERR_NONE;
}

static int mem_sync(struct os_file *file, struct err *err)
{
	(void)file, (void)err;
	return ERR_NONE;
}

static int mem_size(struct os_file *file, uint64_t *bytes, struct err *err)
{
	(void)err;
	*bytes = node_of(file)->size;
	return ERR_NONE;
}

/* A map is a copy: nobody writes while one is open. */
static int mem_reserve(struct os *os, size_t size, void **at, struct err *err)
{
	(void)os, (void)err;
	*at = calloc(1, size);
	FUZZ_MUST(*at);
	return ERR_NONE;
}

static int mem_map(struct os_file *file, uint64_t offset, size_t size, void *at,
                   bool writable, struct err *err)
{
	const struct node *node = node_of(file);

	(void)err;
	FUZZ_MUST(!writable && offset <= node->size &&
	          size <= node->size - offset);
	memcpy(at, node->bytes + offset, size);
	return ERR_NONE;
}

static int mem_fault_in(struct os_file *file, uint64_t offset, void *at,
                        size_t size, struct err *err)
{
	const struct node *node = node_of(file);

	(void)at;
	if (offset <= node->size && size <= node->size - offset)
		return ERR_NONE;
	return err_set(err, ERR_CORRUPT, "read", file->name, "short");
}

static void mem_unreserve(struct os *os, void *at, size_t size)
{
	(void)os, (void)size;
	free(at);
}

static void mem_advise(struct os *os, const void *at, size_t size,
                       enum os_advice advice)
{
	(void)os, (void)at, (void)size, (void)advice;
}

static void mem_wake(struct os *os, _Atomic uint32_t *word, uint32_t count)
{
	(void)os, (void)word, (void)count;
}

static void mem_random(struct os *os, void *bytes, size_t size)
{
	(void)os;
	memset(bytes, 0xa5, size);
}

static const struct os_methods mem_methods = {
	.directory_list = mem_list,
	.directory_sync = mem_directory_sync,
	.identify = mem_identify,
	.unlink = mem_unlink,
	.open = mem_open,
	.close = mem_close,
	.read = mem_read,
	.write = mem_write,
	.sync = mem_sync,
	.size = mem_size,
	.allocate = mem_allocate,
	.reserve = mem_reserve,
	.map = mem_map,
	.fault_in = mem_fault_in,
	.unreserve = mem_unreserve,
	.advise = mem_advise,
	.wake = mem_wake,
	.random = mem_random,
};

/* Inputs */

static void make_files(const uint8_t *data, size_t count)
{
	for (size_t i = 0; i < count; i++, data += CUT) {
		char name[WAL_NAME_SIZE];
		struct node *node;

		wal_segment_name(name, (uint32_t)i + 1);
		node = make_node(name, FILE_SIZE);
		FUZZ_MUST(node);
		memcpy(node->bytes, data, WAL_SEGMENT_HEADER_SIZE);
		memcpy(node->bytes + WAL_SEGMENT_COPY_AT, data,
		       WAL_SEGMENT_HEADER_SIZE);
		memcpy(node->bytes + WAL_SEGMENT_AREA_AT,
		       data + WAL_SEGMENT_HEADER_SIZE, AREA_CUT);
	}
}

struct outcome {
	uint64_t records, last_lsn, sum;
	int rc;
	uint64_t end;
};

static int each_record(void *context, uint64_t lsn, struct span payload,
                       struct err *err)
{
	struct outcome *outcome = context;

	(void)err;
	FUZZ_MUST(outcome->records == 0 || lsn > outcome->last_lsn);
	outcome->last_lsn = lsn;
	outcome->records++;
	for (size_t i = 0; i < payload.size; i++)
		outcome->sum = outcome->sum * 31 + payload.data[i];
	return ERR_NONE;
}

static struct outcome replay(struct wal *wal, uint64_t from)
{
	struct outcome outcome = { 0 };
	struct err err;

	outcome.rc = wal_replay(wal, from, each_record, &outcome, &outcome.end,
	                        &err);
	FUZZ_MUST(outcome.rc || outcome.records == 0 ||
	     outcome.end > outcome.last_lsn);
	return outcome;
}

static void go_on(struct wal *wal, struct wal_shared *shared, uint64_t end)
{
	static const uint8_t bytes[] = "fuzz";
	struct span payload = span_of(bytes, sizeof bytes);
	struct outcome outcome;
	struct err err;
	uint64_t from;

	if (wal_start(wal, end, &err))
		return;
	from = atomic_load(&shared->appended);
	FUZZ_MUST(from >= end);
	FUZZ_MUST(wal_append(wal, &payload, 1, &end, &err) == ERR_NONE);
	outcome = replay(wal, from);
	FUZZ_MUST(outcome.rc == ERR_NONE && outcome.records == 1 &&
	     outcome.end == end);
}

static void run(const uint8_t *data, size_t size)
{
	static struct wal_shared shared;
	struct os os = { .methods = &mem_methods };
	struct os_file dir = { .os = &os };
	struct wal_options options = { .segment_size = FILE_SIZE,
		                       .database = DATABASE };
	struct outcome first, second;
	struct heap heap;
	struct wal *wal;
	struct err err;
	uint64_t from;
	size_t count;

	if (size < 1 + CUT)
		return;
	count = (size - 1) / CUT < CUTS_MAX ? (size - 1) / CUT : CUTS_MAX;
	make_files(data + 1, count);
	from = data[0] / 8 < count ?
		load_le64(data + 1 + data[0] / 8 * CUT + WAL_SEGMENT_FIRST_AT) :
		(uint64_t)data[0] * 8;
	memset(&shared, 0, sizeof shared);
	heap_init(&heap);
	FUZZ_MUST(wal_open(&dir, &heap, &shared, &options, &wal, &err) == ERR_NONE);
	first = replay(wal, from);
	second = replay(wal, from);
	FUZZ_MUST(memcmp(&first, &second, sizeof first) == 0);
	if (!first.rc)
		go_on(wal, &shared, first.end);
	wal_close(wal);
	FUZZ_MUST(heap.used == 0);
	drop_nodes();
}

/* The mutator */

static void mend_header(uint8_t *header, uint32_t no, uint64_t first,
                        uint64_t *state)
{
	store_le32(header + WAL_SEGMENT_MAGIC_AT, WAL_SEGMENT_MAGIC);
	store_le32(header + WAL_SEGMENT_NUMBER_AT, no);
	if (fuzz_random(state) % 8) {
		store_le32(header + WAL_SEGMENT_VERSION_AT, WAL_SEGMENT_VERSION);
		store_le64(header + WAL_SEGMENT_DATABASE_AT, DATABASE);
		store_le64(header + WAL_SEGMENT_SIZE_AT, FILE_SIZE);
		store_le64(header + WAL_SEGMENT_FIRST_AT, first);
	}
	if (fuzz_random(state) % 4) {
		store_le64(header + WAL_SEGMENT_START_AT, 0);
		store_le32(header + WAL_SEGMENT_FLAGS_AT,
		           fuzz_random(state) % 2);
	}
	store_le64(header + WAL_SEGMENT_CHECKSUM_AT,
	           checksum64(header, WAL_SEGMENT_CHECKSUM_AT, 0));
}

/* Makes a record of what lies at `at`; returns its size, or 0 at the end. */
static size_t mend_record(uint8_t *area, size_t at, uint64_t first,
                          uint64_t salt, uint64_t *previous, uint64_t *state)
{
	uint8_t *header = area + at;
	uint32_t payload = load_le32(header + WAL_RECORD_PAYLOAD_SIZE_AT);
	uint32_t magic = load_le32(header + WAL_RECORD_MAGIC_AT);
	uint64_t lsn = first + at, size;

	if (fuzz_random(state) % 16) {
		if (magic != WAL_RECORD_LAST)
			magic = WAL_RECORD_MAGIC;
		store_le32(header + WAL_RECORD_MAGIC_AT, magic);
		payload = magic == WAL_RECORD_LAST ? 0 : payload % 200;
		store_le32(header + WAL_RECORD_PAYLOAD_SIZE_AT, payload);
		store_le64(header + WAL_RECORD_LSN_AT, lsn);
	}
	size = wal_record_size(payload);
	if (size > AREA_CUT - at)
		return 0;
	if (fuzz_random(state) % 16)
		store_le64(header + WAL_RECORD_PREVIOUS_AT, *previous);
	if (fuzz_random(state) % 4)
		store_le64(header + WAL_RECORD_DURABLE_AT,
		           lsn - fuzz_random(state) % 300);
	*previous = checksum64(header + WAL_RECORD_MAGIC_AT,
	                       (size_t)size - WAL_RECORD_MAGIC_AT, salt);
	store_le64(header + WAL_RECORD_CHECKSUM_AT, *previous);
	return (size_t)size;
}

static void mend(uint8_t *data, size_t size, uint64_t *state)
{
	size_t count = (size - 1) / CUT;
	uint64_t first = 0, previous = 0;

	for (size_t i = 0; i < count && i < CUTS_MAX; i++) {
		uint8_t *header = data + 1 + i * CUT;
		uint8_t *area = header + WAL_SEGMENT_HEADER_SIZE;
		uint64_t salt;
		size_t at = 0, step;

		mend_header(header, (uint32_t)i + 1, first, state);
		salt = load_le64(header + WAL_SEGMENT_SALT_AT);
		if (load_le32(header + WAL_SEGMENT_FLAGS_AT))
			previous = salt;
		first = load_le64(header + WAL_SEGMENT_FIRST_AT);
		while (at + WAL_RECORD_HEADER_SIZE <= AREA_CUT &&
		       fuzz_random(state) % 24) {
			step = mend_record(area, at, first, salt, &previous,
			                   state);
			if (step == 0)
				break;
			at += step;
			if (load_le32(area + at - step + WAL_RECORD_MAGIC_AT) ==
			    WAL_RECORD_LAST)
				break;
		}
		first += FILE_SIZE - WAL_SEGMENT_AREA_AT;
	}
}

static size_t mutate(uint8_t *data, size_t size, size_t size_max,
                     uint64_t *random)
{
	size = fuzz_mutate_bytes(data, size, size_max, random);
	if (size < 1 + CUT && size_max >= 1 + 2 * CUT) {
		memset(data + size, 0, 1 + 2 * CUT - size);
		size = 1 + 2 * CUT;
	}
	if (size >= 1 + CUT && fuzz_random(random) % 4)
		mend(data, size, random);
	return size;
}

static size_t seed(unsigned n, uint8_t *data, size_t size_max)
{
	size_t size = 1 + (1 + n % CUTS_MAX) * CUT;
	uint64_t random = n;

	if (n >= 2 * CUTS_MAX || size > size_max)
		return 0;
	memset(data, 0, size);
	mend(data, size, &random);
	return size;
}

const struct fuzz_target wal_fuzz = {
	.name = "wal", .run = run, .seed = seed, .mutate = mutate,
};
