/*
 * damage_test.c - bytes that cannot be what was written.
 *
 * Bytes of every page and of the state are changed, one to a few at a time; all
 * operations then either work or fail with a sentence, and end. The sanitizers
 * watch. Damage to links, levels, counts and lists is found by the verifier.
 */
#include "hnsw/hnsw_format.h"
#include "hnsw/quantise.h"
#include "hnsw/vector.h"
#include "test/support/graph_image.h"
#include "test/support/graph_rig.h"

static void damage(struct graph_image *image, uint64_t *seed)
{
	unsigned count = (unsigned)(test_random(seed) % 4) + 1, i;

	for (i = 0; i < count; i++) {
		size_t at = test_random(seed) % image->size;
		uint64_t how = test_random(seed);

		/* The state and small numbers more often than chance. */
		if (how % 4 == 0)
			at = image->size - 1 - at % PAGER_STATE_SIZE;
		if (how % 3 == 0)
			image->bytes[at] ^= (uint8_t)(1 << (how >> 8) % 8);
		else if (how % 3 == 1)
			image->bytes[at] = (uint8_t)(how >> 16);
		else
			image->bytes[at] = how >> 16 & 1 ? 0xff : 0;
	}
}

/* (hnsw/twins T1) */
static void damaged_bytes_are_errors_at_worst(struct test *t)
{
	unsigned rounds = (unsigned)test_scaled(400, 100), round, kind;
	int failed = 0;

	for (kind = 0; kind < GRAPH_IMAGE_KINDS; kind++) {
		struct graph_image image;
		uint8_t *whole;

		EXPECT_OK(t, graph_image_make(&image, kind,
		                              kind == 4 ? 300 : 90, &t->err));
		if (kind == 1 || kind == 2) {
			graph_image_free(&image);
			EXPECT_OK(t, graph_image_make(&image, kind, 330,
			                              &t->err));
		}
		EXPECT_EQ(t, graph_image_try(&image, 8) >= 0, 1);
		whole = malloc(image.size);
		memcpy(whole, image.bytes, image.size);
		for (round = 0; round < rounds / (kind == 4 ? 8 : 1); round++) {
			memcpy(image.bytes, whole, image.size);
			damage(&image, &t->seed);
			failed += graph_image_try(&image, round) > 0;
		}
		free(whole);
		graph_image_free(&image);
	}
	printf("note %d damaged graphs were noticed\n", failed);
	EXPECT(t, failed > 0);
}

/* --- the verifier ------------------------------------------------------------------------- */

enum { NODES = 60, TWINS = 4 };

static const struct hnsw_options plain = {
	.dimensions = 4, .element = HNSW_F32, .metric = HNSW_L2,
	.quantize = HNSW_NONE, .m = 4, .ef_construction = 20,
};

static bool open_filled(struct graph_rig *rig, struct test *t)
{
	uint8_t vector[16];
	uint32_t i;

	if (!graph_rig_open(rig, t, &plain, 0, false))
		return false;
	for (i = 0; i < NODES; i++) {
		graph_rig_vector(rig, &t->seed, 50, vector);
		if (!graph_rig_insert(rig, i, vector))
			return false;
	}
	for (i = 0; i < TWINS; i++) { /* of the last */
		if (!graph_rig_insert(rig, NODES + i, vector))
			return false;
	}
	return graph_rig_delete(rig, 5) && graph_rig_delete(rig, 6) &&
	       graph_rig_check(rig);
}

/* The block of a node: all are in the one page of nodes. */
static uint8_t *block_of(struct graph_rig *rig, uint32_t node)
{
	uint32_t page_no = load_le32(memory_pager_state_bytes(rig->memory) +
	                             STATE_NODES_AT);
	uint32_t usable = MEMORY_PAGER_USABLE_SIZE - NODES_PAYLOADS_AT;
	uint32_t block = NODE_LINKS_AT + 2 * plain.m * LINK_SIZE;
	uint32_t payload = plain.dimensions * 4;
	uint32_t nodes = usable / (block + payload + NODE_BIAS_SIZE);

	return memory_pager_bytes(rig->memory, page_no) + NODES_PAYLOADS_AT +
	       nodes * payload + node * block;
}

struct wanted {
	const char *words;
	bool found;
};

static void problem(void *context, const char *sentence)
{
	struct wanted *wanted = context;

	wanted->found |= strstr(sentence, wanted->words) != NULL;
}

static void verify_finds(struct test *t, void (*harm)(struct graph_rig *rig),
                         const char *words)
{
	struct wanted wanted = { .words = words };
	struct graph_rig rig;
	struct hnsw *graph;

	if (!open_filled(&rig, t))
		return;
	harm(&rig);
	EXPECT_OK(t, hnsw_open(memory_pager_of(rig.memory),
	                       hnsw_kernels_for(CPU_C), &graph, &t->err));
	EXPECT_ERR(t, hnsw_verify(graph, problem, NULL, NULL, &wanted, &t->err),
	           ERR_CORRUPT, "verify graph memory: ");
	if (!wanted.found)
		test_fail(t, __FILE__, __LINE__, "nobody said: %s", words);
	hnsw_close(graph);
	graph_rig_close(&rig);
}

static void degree_beyond(struct graph_rig *rig)
{
	store_le16(block_of(rig, 9) + NODE_DEGREE_AT, 9);
}

static void link_dropped_on_one_side(struct graph_rig *rig)
{
	uint8_t *degree = block_of(rig, 9) + NODE_DEGREE_AT;

	store_le16(degree, (uint16_t)(load_le16(degree) - 1));
}

static void link_to_itself(struct graph_rig *rig)
{
	store_le32(block_of(rig, 9) + NODE_LINKS_AT, 9);
}

static void link_to_a_free_node(struct graph_rig *rig)
{
	store_le32(block_of(rig, 9) + NODE_LINKS_AT, rig->rows[5].node);
}

static void link_twice(struct graph_rig *rig)
{
	uint8_t *block = block_of(rig, 9);

	store_le32(block + NODE_LINKS_AT, load_le32(block + NODE_LINKS_AT + 4));
}

/* Takes every link of node 9 away, on both sides. */
static void node_cut_off(struct graph_rig *rig)
{
	uint8_t *block = block_of(rig, 9);
	uint32_t i, j;

	for (i = 0; i < load_le16(block + NODE_DEGREE_AT); i++) {
		uint32_t other = load_le32(block + NODE_LINKS_AT + i * 4) &
		                 ~LINK_BACKBONE;
		uint8_t *far = block_of(rig, other);
		uint32_t degree = load_le16(far + NODE_DEGREE_AT);

		for (j = 0; j < degree; j++) {
			uint8_t *link = far + NODE_LINKS_AT + j * 4;

			if ((load_le32(link) & ~LINK_BACKBONE) != 9)
				continue;
			store_le32(link, load_le32(far + NODE_LINKS_AT +
			                           (degree - 1) * 4));
			store_le16(far + NODE_DEGREE_AT,
			           (uint16_t)(degree - 1));
			break;
		}
	}
	store_le16(block + NODE_DEGREE_AT, 0);
}

static void count_wrong(struct graph_rig *rig)
{
	store_le32(memory_pager_state_bytes(rig->memory) + STATE_COUNT_AT, 40);
}

static void free_list_cyclic(struct graph_rig *rig)
{
	uint32_t first = load_le32(memory_pager_state_bytes(rig->memory) +
	                           STATE_FREE_AT);

	store_le32(block_of(rig, first - 1) + NODE_UPPER_AT, first);
}

static void vector_not_finite(struct graph_rig *rig)
{
	uint8_t *page = memory_pager_bytes(
		rig->memory, load_le32(memory_pager_state_bytes(rig->memory) +
	                               STATE_NODES_AT));

	store_le32(page + NODES_PAYLOADS_AT + 9 * 16, 0x7f800000);
}

static void twin_with_another_vector(struct graph_rig *rig)
{
	uint8_t *page = memory_pager_bytes(
		rig->memory, load_le32(memory_pager_state_bytes(rig->memory) +
	                               STATE_NODES_AT));

	store_le32(page + NODES_PAYLOADS_AT + (NODES + 1) * 16, 0x3f000000);
}

static void chain_cut(struct graph_rig *rig)
{
	store_le32(block_of(rig, NODES + 1) + NODE_AFTER_AT, 0);
}

/* The newest twin comes first. */
static void chain_cyclic(struct graph_rig *rig)
{
	store_le32(block_of(rig, NODES) + NODE_AFTER_AT, NODES + TWINS);
}

static void chain_forgotten(struct graph_rig *rig)
{
	block_of(rig, NODES - 1)[NODE_FLAGS_AT] = 0;
}

/* The walk goes by one side of a link: node 9 is met no more. */
static void nobody_links_to(struct graph_rig *rig)
{
	uint32_t node, i;

	for (node = 0; node < NODES; node++) {
		uint8_t *block = block_of(rig, node);

		for (i = 0; node != 9 && i < load_le16(block + NODE_DEGREE_AT);
		     i++) {
			uint8_t *link = block + NODE_LINKS_AT + i * LINK_SIZE;

			if ((load_le32(link) & ~LINK_BACKBONE) == 9)
				store_le32(link, node == 8 ? 7 : 8);
		}
	}
}

static void node_above_the_top(struct graph_rig *rig)
{
	block_of(rig, 9)[NODE_LEVEL_AT] = (uint8_t)(
		memory_pager_state_bytes(rig->memory)[STATE_TOP_LEVEL_AT] + 1);
}

static void entry_below_the_top(struct graph_rig *rig)
{
	uint8_t *state = memory_pager_state_bytes(rig->memory);
	uint32_t node = 0;

	while (block_of(rig, node)[NODE_LEVEL_AT] != 0)
		node++;
	store_le32(state + STATE_ENTRY_AT, node + 1);
}

/* (hnsw/verify V1, hnsw/verify V2, hnsw/verify V3, hnsw/verify V4, hnsw/verify V5,
 * hnsw/verify V7) */
static void the_verifier_names_what_is_wrong(struct test *t)
{
	verify_finds(t, degree_beyond, "node 9 has more links than fit");
	verify_finds(t, link_dropped_on_one_side, "but not the other way");
	verify_finds(t, link_to_itself, "node 9 links to 9 on level 0");
	verify_finds(t, link_to_a_free_node, "which is not there");
	verify_finds(t, link_twice, "node 9 links twice");
	verify_finds(t, node_cut_off, "parts that do not reach each other");
	verify_finds(t, nobody_links_to, "1 of 58 nodes are not reached");
	verify_finds(t, twin_with_another_vector,
	             "node 61 is a twin of node 59 with another vector");
	verify_finds(t, chain_cut, "4 nodes are twins, 3 are in chains");
	verify_finds(t, chain_cyclic, "node 63 is no twin behind node 60");
	verify_finds(t, chain_forgotten, "4 nodes are twins, 0 are in chains");
	verify_finds(t, node_above_the_top, "node 9 is on level");
	verify_finds(t, entry_below_the_top, "is not on the top level");
	verify_finds(t, count_wrong, "62 nodes are live, the state says 40");
	verify_finds(t, free_list_cyclic, "free list goes wrong");
	verify_finds(t, vector_not_finite, "not a finite number");
}

static void a_newer_format_is_refused(struct test *t)
{
	struct graph_rig rig;
	struct hnsw *graph;

	if (!open_filled(&rig, t))
		return;
	store_le16(memory_pager_state_bytes(rig.memory) + STATE_VERSION_AT,
	           GRAPH_VERSION + 1);
	EXPECT_ERR(t, hnsw_open(memory_pager_of(rig.memory),
	                        hnsw_kernels_for(CPU_C), &graph, &t->err),
	           ERR_VERSION, "format version is 3, this library knows 2");
	store_le16(memory_pager_state_bytes(rig.memory) + STATE_VERSION_AT, 0);
	EXPECT_ERR(t, hnsw_open(memory_pager_of(rig.memory),
	                        hnsw_kernels_for(CPU_C), &graph, &t->err),
	           ERR_CORRUPT, "no graph was made");
	graph_rig_close(&rig);
}

struct pages_met {
	uint64_t seen;
	int twice;
};

static void count_twice(void *context, uint32_t page_no)
{
	struct pages_met *pages = context;

	pages->twice += (int)(pages->seen >> page_no % 64 & 1);
	pages->seen |= UINT64_C(1) << page_no % 64;
}

/* The caller compares the pages of all graphs and trees. (hnsw/verify V8) */
static void a_page_of_two_strips_is_visited_twice(struct test *t)
{
	struct pages_met pages = { .seen = 0 };
	struct graph_rig rig;
	struct hnsw *graph;
	uint8_t *state;

	if (!open_filled(&rig, t))
		return;
	state = memory_pager_state_bytes(rig.memory);
	EXPECT_OK(t, hnsw_verify(rig.graph, NULL, count_twice, NULL, &pages,
	                         &t->err));
	EXPECT_EQ(t, pages.twice, 0);
	store_le32(state + STATE_UPPERS_AT, load_le32(state + STATE_NODES_AT));
	EXPECT_OK(t, hnsw_open(memory_pager_of(rig.memory),
	                       hnsw_kernels_for(CPU_C), &graph, &t->err));
	pages.seen = 0;
	hnsw_verify(graph, NULL, count_twice, NULL, &pages, &t->err);
	EXPECT(t, pages.twice > 0);
	hnsw_close(graph);
	graph_rig_close(&rig);
}

/* Learns its ranges on the way. */
static bool open_coded(struct graph_rig *rig, struct test *t)
{
	struct hnsw_options options = plain;
	uint8_t vector[16];
	uint64_t seed = 1;

	options.quantize = HNSW_SQ8;
	if (!graph_rig_open(rig, t, &options, 0, false))
		return false;
	for (int64_t i = 0; i < QUANTISE_FIRST_COUNT + 20; i++) {
		graph_rig_vector(rig, &seed, 100, vector);
		if (!graph_rig_insert(rig, i, vector))
			return false;
	}
	return graph_rig_check(rig);
}

/* (hnsw/verify V6) */
static void a_code_that_is_not_its_vectors_is_named(struct test *t)
{
	struct wanted wanted = { .words = "is not that of its vector" };
	struct graph_rig rig;
	struct hnsw *graph;
	uint8_t *state, *page;

	if (!open_coded(&rig, t))
		return;
	state = memory_pager_state_bytes(rig.memory);
	EXPECT(t, state[STATE_FLAGS_AT] & STATE_TRAINED);
	/* All nodes are in one page still, their codes in front. */
	page = memory_pager_bytes(rig.memory, load_le32(state + STATE_NODES_AT));
	page[NODES_PAYLOADS_AT] ^= 1;
	EXPECT_OK(t, hnsw_open(memory_pager_of(rig.memory),
	                       hnsw_kernels_for(CPU_C), &graph, &t->err));
	EXPECT_ERR(t, hnsw_verify(graph, problem, NULL, NULL, &wanted, &t->err),
	           ERR_CORRUPT, "verify graph memory: ");
	EXPECT(t, wanted.found);
	hnsw_close(graph);
	graph_rig_close(&rig);
}

static const struct test_case cases[] = {
	CASE(damaged_bytes_are_errors_at_worst),
	CASE(the_verifier_names_what_is_wrong),
	CASE(a_page_of_two_strips_is_visited_twice),
	CASE(a_code_that_is_not_its_vectors_is_named),
	CASE(a_newer_format_is_refused),
};

TEST_MAIN(cases)
