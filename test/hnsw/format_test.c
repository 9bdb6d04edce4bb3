/*
 * format_test.c - golden bytes of hnsw_format.h.
 *
 * Three nodes of two dimensions with two links a level, one of them on level 1.
 * When these bytes have to change, GRAPH_VERSION has to grow.
 */
#include "hnsw/hnsw_format.h"
#include "test/support/graph_rig.h"

static const struct hnsw_options options = {
	.dimensions = 2, .element = HNSW_F32, .metric = HNSW_L2,
	.quantize = HNSW_NONE, .m = 2, .ef_construction = 4,
};

/* `wanted` is hexadecimal; blanks do not count. */
static void expect_bytes(struct test *t, const char *what, const uint8_t *bytes,
                         const char *wanted)
{
	unsigned value, at = 0;
	int used;

	for (; sscanf(wanted, " %2x%n", &value, &used) == 1; wanted += used) {
		if (bytes[at] != value && !t->failed)
			test_fail(t, __FILE__, __LINE__,
			          "%s: byte %u is %02x, wanted %02x", what, at,
			          bytes[at], value);
		at++;
	}
}

static const uint8_t *strip_page(struct graph_rig *rig, uint32_t root_at)
{
	return memory_pager_bytes(
		rig->memory,
		load_le32(memory_pager_state_bytes(rig->memory) + root_at));
}

static void a_small_graph_has_these_bytes(struct test *t)
{
	static const float vectors[3][2] = { { 1, 2 }, { 3, 4 }, { -1, 0.5f } };
	static const int64_t rowids[3] = { 10, 11, 13 };
	struct graph_rig rig;
	int i;

	if (!graph_rig_open(&rig, t, &options, 512, false))
		return;
	for (i = 0; i < 3; i++)
		EXPECT(t, graph_rig_insert(&rig, rowids[i], vectors[i]));
	expect_bytes(t, "state", memory_pager_state_bytes(rig.memory),
	             "0200 04 00 01000000" /* version, top level, flags, meta */
	             "03000000 03000000 00000000 01000000" /* count..entry */
	             "05000000 00000000 05000000" /* uppers */
	             "00010000 00000000 00000000" /* training, recoding */
	             "02000000 00000000 00000000 03000000 00000000" /* roots */
	             "0000000000000000000000000000000000000000000000000000");
	expect_bytes(t, "meta page", memory_pager_bytes(rig.memory, 1),
	             "484e5357 02000000 02000000 01 01 00 00 02000000 04000000"
	             "0000000000000000");
	/* 10 nodes to a page: 80 bytes of payloads, 320 of blocks, 40 of biases. */
	expect_bytes(t, "payloads",
	             strip_page(&rig, STATE_NODES_AT) + NODES_PAYLOADS_AT,
	             "0000803f 00000040 00004040 00008040 000080bf 0000003f"
	             "00000000");
	expect_bytes(t, "blocks",
	             strip_page(&rig, STATE_NODES_AT) + NODES_PAYLOADS_AT + 80,
	             "0a00000000000000 04000000 0200 04 00"
	             "01000080 02000080 00000000 00000000"
	             "0b00000000000000 05000000 0100 01 00"
	             "00000080 00000000 00000000 00000000"
	             "0d00000000000000 00000000 0100 00 00"
	             "00000080 00000000 00000000 00000000");
	expect_bytes(t, "uppers", strip_page(&rig, STATE_UPPERS_AT),
	             "00000000 00000000 0000 04 00 00000000 00000000"
	             "00000000 01000000 0000 03 00 00000000 00000000"
	             "00000000 02000000 0000 02 00 00000000 00000000"
	             "00000000 03000000 0100 01 00 01000080 00000000"
	             "01000000 00000000 0100 01 00 00000080 00000000");
	graph_rig_close(&rig);
}

/* One vector three times: a head on level 1, and two that hang on it. */
static void twins_have_these_bytes(struct test *t)
{
	static const float vector[2] = { 1, 2 };
	static const int64_t rowids[3] = { 11, 12, 13 };
	struct graph_rig rig;
	int i;

	if (!graph_rig_open(&rig, t, &options, 512, false))
		return;
	for (i = 0; i < 3; i++)
		EXPECT(t, graph_rig_insert(&rig, rowids[i], vector));
	expect_bytes(t, "state", memory_pager_state_bytes(rig.memory),
	             "0200 01 00 01000000"
	             "03000000 03000000 00000000 01000000"
	             "02000000 00000000 02000000");
	expect_bytes(t, "blocks",
	             strip_page(&rig, STATE_NODES_AT) + NODES_PAYLOADS_AT + 80,
	             "0b00000000000000 01000000 0000 01 01"
	             "00000000 00000000 00000000 00000000"
	             "0c00000000000000 00000000 0000 fe 00"
	             "02000000 00000000 00000000 00000000"
	             "0d00000000000000 00000000 0000 fe 00"
	             "00000000 02000000 00000000 00000000");
	expect_bytes(t, "uppers", strip_page(&rig, STATE_UPPERS_AT),
	             "00000000 02000000 0000 01 00 00000000 00000000"
	             "00000000 00000000 0000 ff 00 03000000 00000000");
	graph_rig_close(&rig);
}

/* The values 0 to 255: the range is widened by a tenth to either side. */
static void a_quantiser_has_these_bytes(struct test *t)
{
	struct hnsw_options coded = options;
	struct graph_rig rig;
	float value;
	int i;

	coded.dimensions = 1;
	coded.quantize = HNSW_SQ8;
	if (!graph_rig_open(&rig, t, &coded, 512, false))
		return;
	for (i = 0; i < 256; i++) {
		value = (float)i;
		EXPECT(t, graph_rig_insert(&rig, i, &value));
	}
	/* pair factor 1.44 * 128 / 32767, middle 128.1, step 1.2, pair step
	 * 32767 / 128 */
	expect_bytes(t, "quantiser", strip_page(&rig, STATE_QUANTISERS_AT),
	             "5d53b83b 000000000000000000000000"
	             "9a190043 9a99993f 00fe7f43");
	EXPECT_EQ(t, memory_pager_state_bytes(rig.memory)[STATE_FLAGS_AT],
	          STATE_TRAINED);
	graph_rig_close(&rig);
}

static const struct test_case cases[] = {
	CASE(a_small_graph_has_these_bytes),
	CASE(twins_have_these_bytes),
	CASE(a_quantiser_has_these_bytes),
};

TEST_MAIN(cases)
