/*
 * pool_test.c - narrow and wide pools against a plain sorted array.
 */
#include "hnsw/pool.h"
#include "hnsw/sort.h"
#include "test/harness.h"

struct fixture {
	struct heap heap;
	struct pager pager;
	struct hnsw graph;
};

static void fixture_open(struct fixture *fixture)
{
	memset(fixture, 0, sizeof *fixture);
	heap_init(&fixture->heap);
	fixture->pager.heap = &fixture->heap;
	fixture->graph.pager = &fixture->pager;
}

static void fixture_close(struct fixture *fixture)
{
	heap_free(&fixture->heap, fixture->graph.pool.keys);
}

static float some_distance(uint64_t *seed)
{
	return (float)(int64_t)(test_random(seed) % 2000000) / 1000 - 500;
}

/* Offers `count` nodes, expanding one after every few; expanded ones must come
 * in an order in which nothing unexpanded is nearer. */
static void offer_and_compare(struct test *t, size_t limit, uint32_t count)
{
	struct fixture fixture;
	struct pool *pool = &fixture.graph.pool;
	uint64_t *all = malloc(count * sizeof *all);
	bool *expanded = calloc(count, sizeof *expanded);
	uint32_t i, next;
	size_t k;

	fixture_open(&fixture);
	EXPECT_OK(t, pool_reset(&fixture.graph, limit, &t->err));
	EXPECT_EQ(t, pool->open != NULL, limit > POOL_NARROW_MAX);
	for (i = 0; i < count; i++) {
		all[i] = pool_key(i, some_distance(&t->seed));
		EXPECT(t, pool_node(all[i]) == i);
		if (all[i] < pool_bound(pool))
			pool_add(pool, all[i]);
		if (i % 3 != 0)
			continue;
		next = pool_next(pool);
		if (next == NO_NODE)
			continue;
		EXPECT(t, next <= i && !expanded[next]);
		expanded[next] = true;
		if (i < 500) {
			for (k = 0; k <= i; k++)
				EXPECT(t, expanded[k] || all[k] > all[next]);
		}
	}
	while ((next = pool_next(pool)) != NO_NODE)
		expanded[next] = true;
	if (pool->open)
		pool_wide_settle(pool);
	sort_u64(all, count);
	EXPECT_EQ(t, pool->size, limit < count ? limit : count);
	for (k = 0; k < pool->size; k++) {
		EXPECT_EQ(t, pool_node(pool->keys[k]), pool_node(all[k]));
		EXPECT(t, expanded[pool_node(all[k])]);
	}
	free(all);
	free(expanded);
	fixture_close(&fixture);
}

static void a_pool_keeps_the_nearest_and_expands_them_all(struct test *t)
{
	static const size_t limits[] = { 1, 2, 3, 10, 64, 500 };
	size_t i;

	for (i = 0; i < sizeof limits / sizeof limits[0] && !t->failed; i++)
		offer_and_compare(t, limits[i], 2000);
}

static void a_wide_pool_does_the_same(struct test *t)
{
	offer_and_compare(t, POOL_NARROW_MAX + 1, 3000);
	if (!t->failed)
		offer_and_compare(t, POOL_NARROW_MAX + 1, 60000);
}

/* Each nearer than all before and none expanded: what is open overflows. */
static void a_wide_pool_forgets_what_fell_out(struct test *t)
{
	uint32_t count = POOL_NARROW_MAX * 4, i;
	struct fixture fixture;
	struct pool *pool = &fixture.graph.pool;

	fixture_open(&fixture);
	EXPECT_OK(t, pool_reset(&fixture.graph, POOL_NARROW_MAX + 1, &t->err));
	for (i = 0; i < count; i++)
		pool_add(pool, pool_key(i, -(float)i));
	for (i = count; i > count - POOL_NARROW_MAX - 1; i--)
		EXPECT_EQ(t, pool_next(pool), i - 1);
	EXPECT_EQ(t, pool_next(pool), NO_NODE);
	fixture_close(&fixture);
}

static void visited_nodes_are_forgotten(struct test *t)
{
	uint32_t count = VISITED_LIST_MAX * 2, round, i;
	struct fixture fixture;
	struct visited *visited = &fixture.graph.visited;

	fixture_open(&fixture);
	EXPECT_OK(t, visited_room_make(&fixture.graph, count, &t->err));
	for (round = 0; round < 4; round++) {
		for (i = 0; i < count >> round; i++) {
			EXPECT(t, visited_add(visited, i));
			EXPECT(t, !visited_add(visited, i));
		}
		visited_clear(visited);
	}
	heap_free(&fixture.heap, visited->words);
	heap_free(&fixture.heap, visited->list);
	fixture_close(&fixture);
}

static void keys_are_in_the_order_of_distances(struct test *t)
{
	static const float rising[] = { -1e30f, -2, -1, -1e-30f, 0, 1e-30f, 1,
		                        2, 1e30f };
	size_t i;

	for (i = 0; i + 1 < sizeof rising / sizeof rising[0]; i++) {
		EXPECT(t, pool_key(7, rising[i]) < pool_key(3, rising[i + 1]));
		EXPECT(t, pool_distance(pool_key(7, rising[i])) == rising[i]);
	}
	EXPECT(t, pool_key(3, 1) < pool_key(7, 1));
}

static void sorting_puts_keys_in_order(struct test *t)
{
	uint64_t keys[1000];
	size_t count, i;

	for (count = 0; count < 1000; count += count / 7 + 1) {
		for (i = 0; i < count; i++)
			keys[i] = test_random(&t->seed) >> 40;
		sort_u64(keys, count);
		for (i = 1; i < count; i++)
			EXPECT(t, keys[i - 1] <= keys[i]);
	}
}

static const struct test_case cases[] = {
	CASE(a_pool_keeps_the_nearest_and_expands_them_all),
	CASE(a_wide_pool_does_the_same),
	CASE(a_wide_pool_forgets_what_fell_out),
	CASE(visited_nodes_are_forgotten),
	CASE(keys_are_in_the_order_of_distances),
	CASE(sorting_puts_keys_in_order),
};

TEST_MAIN(cases)
