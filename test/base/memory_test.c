/*
 * memory_test.c - errors, heap and arena.
 */
#include "test/harness.h"

#include "base/arena.h"
#include "base/checksum.h"
#include "base/heap.h"

static void an_error_says_operation_resource_and_reason(struct test *t)
{
	EXPECT_EQ(t, err_set(&t->err, ERR_CORRUPT, "open log segment",
	                     "wal.000007", "checksum is %08x", 0xb07c9714u),
	          ERR_CORRUPT);
	EXPECT_STR(t, t->err.text,
	           "open log segment wal.000007: checksum is b07c9714");
}

static void an_error_longer_than_its_storage_is_cut(struct test *t)
{
	char name[2 * ERR_TEXT_SIZE];

	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = 0;
	err_set(&t->err, ERR_IO, "read", name, "%s", name);
	EXPECT_EQ(t, strlen(t->err.text), ERR_TEXT_SIZE - 1);
}

/* A path of 800 bytes left no room for what was wrong with it. */
static void a_long_resource_leaves_room_for_the_reason(struct test *t)
{
	char name[900] = "/begin/";

	for (size_t at = strlen(name); at + 8 < sizeof name; at += 3)
		strcpy(name + at, "\xe6\x97\xa5");
	strcat(name, "/end");
	err_set(&t->err, ERR_CANTOPEN, "open", name, "it is %s", "too long");
	EXPECT(t, strstr(t->err.text, "open /begin/\xe6"));
	EXPECT(t, strstr(t->err.text, "\xa5...\xe6"));
	EXPECT(t, strstr(t->err.text, "\xa5/end: it is too long"));
	err_set(&t->err, ERR_CANTOPEN, "op", "en", "%s", name);
	EXPECT(t, strlen(t->err.text) < ERR_TEXT_SIZE);
	EXPECT((t), (unsigned char)t->err.text[strlen(t->err.text) - 1] == 0xa5);
}

static void the_heap_counts_and_limits(struct test *t)
{
	struct heap heap;
	void *a, *b;

	heap_init(&heap);
	heap.limit = 10000;
	a = heap_zeroed(&heap, 4000);
	b = heap_allocate(&heap, 4000);
	EXPECT(t, a && b && ((uintptr_t)a & 15) == 0);
	EXPECT(t, heap_allocate(&heap, 4000) == NULL);
	heap_free(&heap, a);
	a = heap_resize(&heap, NULL, 4000);
	EXPECT(t, a != NULL);
	heap_free(&heap, a);
	heap_free(&heap, b);
	EXPECT_EQ(t, heap.used, 0);
	EXPECT(t, heap.peak >= 8000 && heap.peak <= 10000);
}

static void the_heap_fails_when_a_test_asks(struct test *t)
{
	struct heap heap;
	void *block;

	heap_init(&heap);
	heap.fail_in = 2;
	block = heap_allocate(&heap, 1);
	EXPECT(t, block != NULL);
	EXPECT(t, heap_allocate(&heap, 1) == NULL);
	heap_free(&heap, block);
	block = heap_allocate(&heap, 1);
	EXPECT(t, block != NULL);
	heap_free(&heap, block);
	heap.fail_in = 1;
	heap.fail_sticky = 1;
	EXPECT(t, heap_allocate(&heap, 1) == NULL);
	EXPECT(t, heap_allocate(&heap, 1) == NULL);
}

static void an_arena_stops_allocating_once_warm(struct test *t)
{
	struct heap heap;
	struct arena arena;
	size_t used;

	heap_init(&heap);
	arena_init(&arena, &heap);
	for (int i = 0; i < 100; i++)
		EXPECT(t, arena_allocate(&arena, 100) != NULL);
	arena_reset(&arena);
	used = heap.used;
	for (int i = 0; i < 100; i++)
		EXPECT(t, arena_allocate(&arena, 100) != NULL);
	EXPECT_EQ(t, heap.used, used);
	EXPECT(t, arena_allocate(&arena, 100000) != NULL);
	arena_close(&arena);
	EXPECT_EQ(t, heap.used, 0);
}

static void a_checksum_depends_on_its_seed(struct test *t)
{
	EXPECT(t, checksum64("abc", 3, 1) != checksum64("abc", 3, 2));
	EXPECT(t, checksum_seed(1, 2, 3) != checksum_seed(2, 1, 3));
	EXPECT(t, checksum64("", 0, 0) == UINT64_C(0x2d06800538d394c2));
}

static void the_checksum_is_the_same_whole_and_in_pieces(struct test *t)
{
	uint8_t bytes[20000];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * i >> 3);
	for (size_t size = 0; size <= sizeof bytes; size += size / 7 + 1) {
		struct checksum_stream stream;

		checksum_stream_init(&stream, 99);
		checksum_stream_add(&stream, bytes, size / 3);
		checksum_stream_add(&stream, bytes + size / 3, size - size / 3);
		EXPECT(t, checksum_stream_end(&stream) ==
		                  checksum64(bytes, size, 99));
	}
}

static const struct test_case cases[] = {
	CASE(an_error_says_operation_resource_and_reason),
	CASE(an_error_longer_than_its_storage_is_cut),
	CASE(a_long_resource_leaves_room_for_the_reason),
	CASE(the_heap_counts_and_limits),
	CASE(the_heap_fails_when_a_test_asks),
	CASE(an_arena_stops_allocating_once_warm),
	CASE(a_checksum_depends_on_its_seed),
	CASE(the_checksum_is_the_same_whole_and_in_pieces),
};
TEST_MAIN(cases)
