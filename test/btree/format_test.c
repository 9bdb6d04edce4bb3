/*
 * format_test.c - the bytes of pages and state, as btree_format.h says. A change
 * here is a change of the format.
 */
#include "btree/btree_format.h"
#include "test/support/tree_bed.h"

enum { USABLE = 256 };

/* Eight bytes of a page in hexadecimal; what is not listed is zero. */
struct golden {
	int at;
	const char *hex;
};

static void expect_bytes(struct test *t, const uint8_t *bytes, size_t size,
                         const struct golden *golden)
{
	for (size_t at = 0; at < size; at += 8) {
		const char *wanted = "0000000000000000";
		char given[17];

		if (golden->hex && golden->at == (int)at)
			wanted = golden++->hex;
		for (int i = 0; i < 8; i++)
			snprintf(given + 2 * i, 3, "%02x", bytes[at + (size_t)i]);
		if (strcmp(given, wanted)) {
			test_fail(t, __FILE__, __LINE__,
			          "bytes at %zu are %s, the format says %s", at,
			          given, wanted);
			return;
		}
	}
}

static void expect_page(struct test *t, struct tree_bed *bed, uint32_t page_no,
                        const struct golden *golden)
{
	uint8_t *page = memory_pager_bytes(bed->memory, page_no);

	EXPECT(t, page != NULL);
	expect_bytes(t, page, USABLE, golden);
}

static const struct golden rowid_leaf[] = {
	{ 0, "020002001000f900" }, /* ........ */
	{ 8, "0000000000000100" }, /* ........ */
	{ 24, "ffffffffffffff7f" }, /* ........ */
	{ 32, "0700000000000080" }, /* ........ */
	{ 152, "f900fd0000000000" }, /* ........ */
	{ 248, "0003616263027879" }, /* ..abc.xy */
	{ 0, NULL },
};

static const struct golden bytes_leaf[] = {
	{ 0, "02000a000b009d00" }, /* ........ */
	{ 8, "0800f40005000200" }, /* ........ */
	{ 16, "0200000000000000" }, /* ........ */
	{ 24, "746f776e2f000000" }, /* town/... */
	{ 32, "0000000000003030" }, /* ......00 */
	{ 40, "0000000000003130" }, /* ......10 */
	{ 48, "0000000000003230" }, /* ......20 */
	{ 56, "0000000000003430" }, /* ......40 */
	{ 64, "0000000000003530" }, /* ......50 */
	{ 72, "0000000000003630" }, /* ......60 */
	{ 80, "742d646e6f796562" }, /* t-dnoyeb */
	{ 88, "742d646e6f796562" }, /* t-dnoyeb */
	{ 96, "742d646e6f796562" }, /* t-dnoyeb */
	{ 104, "742d646e6f796562" }, /* t-dnoyeb */
	{ 112, "742d646e6f796562" }, /* t-dnoyeb */
	{ 120, "fc00f8009d00ec00" }, /* ........ */
	{ 128, "e800e400d500c600" }, /* ........ */
	{ 136, "b700a700a7000000" }, /* ........ */
	{ 152, "fc00f800f402ff2c" }, /* ......., */
	{ 160, "0100000400000013" }, /* ........ */
	{ 168, "0368652d72697665" }, /* .he-rive */
	{ 176, "722d313076313013" }, /* r-10v10. */
	{ 184, "0268652d72697665" }, /* .he-rive */
	{ 192, "722d303976391302" }, /* r-09v9.. */
	{ 200, "68652d7269766572" }, /* he-river */
	{ 208, "2d30387638130268" }, /* -08v8..h */
	{ 216, "652d72697665722d" }, /* e-river- */
	{ 224, "3037763702027636" }, /* 07v7..v6 */
	{ 232, "0202763502027634" }, /* ..v5..v4 */
	{ 240, "00000400f0000400" }, /* ........ */
	{ 248, "0202763102027630" }, /* ..v1..v0 */
	{ 0, NULL },
};

static const struct golden appended_leaf[] = {
	{ 0, "020003000500f100" }, /* ........ */
	{ 8, "0000000017000200" }, /* ........ */
	{ 24, "746f776e2f626579" }, /* town/bey */
	{ 32, "6f6e642d7468652d" }, /* ond-the- */
	{ 40, "72697665722d3100" }, /* river-1. */
	{ 48, "0000000000000031" }, /* .......1 */
	{ 56, "0000000000000032" }, /* .......2 */
	{ 64, "0000000000000033" }, /* .......3 */
	{ 88, "fb00f600f1000000" }, /* ........ */
	{ 240, "0001037631330103" }, /* ...v13.. */
	{ 248, "7631320103763131" }, /* v12..v11 */
	{ 0, NULL },
};

static const struct golden root[] = {
	{ 0, "030102000500ef00" }, /* ........ */
	{ 8, "0000000000000200" }, /* ........ */
	{ 32, "7965622f6e776f74" }, /* yeb/nwot */
	{ 64, "0100000002000000" }, /* ........ */
	{ 80, "000000000000ef00" }, /* ........ */
	{ 232, "0000000000000018" }, /* ........ */
	{ 240, "6f6e642d7468652d" }, /* ond-the- */
	{ 248, "72697665722d3131" }, /* river-11 */
	{ 0, NULL },
};

static const struct golden overflow_tail[] = {
	{ 0, "0400000000000000" }, /* ........ */
	{ 8, "010000003c000000" }, /* ....<... */
	{ 16, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 24, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 32, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 40, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 48, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 56, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 64, "6f6f6f6f6f6f6f6f" }, /* oooooooo */
	{ 72, "6f6f6f6f00000000" }, /* oooo.... */
	{ 0, NULL },
};

static const struct golden state[] = {
	{ 0, "5442545201000202" }, /* TBTR, version, keys, height   */
	{ 8, "0300000002000000" }, /* root, leaf pages              */
	{ 16, "0d00000000000000" }, /* entries                      */
	{ 24, "0100000000000000" }, /* interior pages, no garbage   */
	{ 0, NULL },
};

static void a_rowid_leaf_has_the_bytes_of_its_format(struct test *t)
{
	struct tree_bed bed;
	uint8_t key[8];

	EXPECT_OK(t, bed_open(&bed, t, BED_ROWIDS, USABLE, false));
	btree_rowid_key(key, 7);
	EXPECT_OK(t, btree_put(&bed.tree, span_of(key, 8), span_of("xy", 2),
	                       BTREE_PUT_NEW, &t->err));
	btree_rowid_key(key, -1);
	EXPECT_OK(t, btree_put(&bed.tree, span_of(key, 8), span_of("abc", 3),
	                       BTREE_PUT_NEW, &t->err));
	expect_page(t, &bed, 1, rowid_leaf);
	bed_close(&bed);
}

/* Fourteen towns, one deleted, one with 300 bytes. */
static void towns_put(struct test *t, struct tree_bed *bed)
{
	char key[64], value[300];
	bool found;

	for (int i = 0; i < 14; i++) {
		snprintf(key, sizeof key, "town/%s%02d",
		         i < 7 ? "" : "beyond-the-river-", i);
		snprintf(value, sizeof value, "v%d", i);
		EXPECT_OK(t, btree_put(&bed->tree, span_of(key, strlen(key)),
		                       span_of(value, strlen(value)),
		                       BTREE_PUT_NEW, &t->err));
	}
	EXPECT_OK(t, btree_delete(&bed->tree, span_of("town/03", 7), &found,
	                          &t->err));
	memset(value, 'o', sizeof value);
	EXPECT_OK(t, btree_put(&bed->tree, span_of("town/02", 7),
	                       span_of(value, sizeof value),
	                       BTREE_PUT_REPLACE, &t->err));
}

static void a_tree_of_byte_keys_has_the_bytes_of_its_format(struct test *t)
{
	struct tree_bed bed;

	EXPECT_OK(t, bed_open(&bed, t, BED_SHORT, USABLE, false));
	towns_put(t, &bed);
	expect_page(t, &bed, 1, bytes_leaf);
	expect_page(t, &bed, 2, appended_leaf);
	expect_page(t, &bed, 3, root);
	expect_page(t, &bed, 5, overflow_tail);
	expect_bytes(t, memory_pager_state_bytes(bed.memory), PAGER_STATE_SIZE,
	             state);
	bed_close(&bed);
}

static void a_newer_format_is_refused(struct test *t)
{
	struct tree_bed bed;
	uint64_t entries;

	EXPECT_OK(t, bed_open(&bed, t, BED_SHORT, USABLE, false));
	memory_pager_state_bytes(bed.memory)[STATE_VERSION_AT]++;
	EXPECT_ERR(t, btree_open(&bed.tree, memory_pager_of(bed.memory),
	                         &t->err), ERR_VERSION, "format 2");
	EXPECT_ERR(t, btree_count(&bed.tree, &entries, &t->err), ERR_VERSION,
	           "knows up to 1");
	memory_pager_state_bytes(bed.memory)[STATE_MAGIC_AT]++;
	EXPECT_ERR(t, btree_open(&bed.tree, memory_pager_of(bed.memory),
	                         &t->err), ERR_CORRUPT, "no tree here");
	bed_close(&bed);
}

static const struct test_case cases[] = {
	CASE(a_rowid_leaf_has_the_bytes_of_its_format),
	CASE(a_tree_of_byte_keys_has_the_bytes_of_its_format),
	CASE(a_newer_format_is_refused),
};
TEST_MAIN(cases)
