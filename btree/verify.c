/*
 * verify.c - the checker that ships: every page of a tree, every promise.
 *
 * Depth first from the root. Each node is checked by itself, then against the
 * separators that lead to it; leaves against the chain of `next` links; values
 * in overflow pages part by part; at last the counts in the state.
 *
 * (V1) A page is reached once: a bit per page number. (V2) Keys of child i lie
 * in [separator i, separator i + 1). (V3) Following `next` from the first leaf
 * meets the leaves in the order of the tree. (V4) The state's counts are true.
 */
#include <stdio.h>
#include <string.h>

#include "base/sparse_bits.h"
#include "btree/node_verify.h"
#include "btree/overflow.h"
#include "btree/tree.h"

/* Separators around a node; a size of UINT32_MAX means none. */
struct bounds {
	uint8_t low[BTREE_KEY_SIZE_MAX], high[BTREE_KEY_SIZE_MAX];
	uint32_t low_size, high_size;
};

struct verify {
	struct btree *tree;
	struct tree_state state;
	void (*problem)(void *context, const char *sentence);
	void (*visit)(void *context, uint32_t page_no);
	void *context;
	struct err *err;
	int rc;              /* the first problem's code      */
	struct sparse_bits seen; /* page numbers              */
	struct bounds *bounds; /* one per level               */
	uint64_t entries;
	uint32_t leaf_pages, interior_pages;
	uint32_t next_expected; /* what the last leaf leads to */
};

static void problem_found(struct verify *verify, uint32_t page_no,
                          const char *reason)
{
	struct err err;

	tree_corrupt(verify->tree, page_no, reason, &err);
	if (verify->problem)
		verify->problem(verify->context, err.text);
	if (verify->rc)
		return;
	verify->rc = ERR_CORRUPT;
	if (verify->err)
		*verify->err = err;
}

/* A failure that is not about the tree ends the check; a damaged page is a
 * problem among others. True when it was one of those. */
static bool read_failed(struct verify *verify, int rc, const struct err *err)
{
	if (!rc)
		return false;
	if (rc == ERR_CORRUPT && verify->problem)
		verify->problem(verify->context, err->text);
	if (!verify->rc || rc != ERR_CORRUPT) {
		verify->rc = rc;
		if (verify->err)
			*verify->err = *err;
	}
	return true;
}

static bool stopped(const struct verify *verify)
{
	return verify->rc && verify->rc != ERR_CORRUPT;
}

/* (V1) False: it was there before, or there is no memory to know. */
static bool page_is_new(struct verify *verify, uint32_t page_no)
{
	struct err err;
	bool before;

	if (read_failed(verify, breathe(verify->tree->breath, &err), &err))
		return false;
	if (!sparse_bits_add(&verify->seen, page_no, &before)) {
		read_failed(verify, err_set(&err, ERR_NOMEM, "check tree",
		                            verify->tree->pager->name,
		                            "no memory for a bit a page"),
		            &err);
		return false;
	}
	if (before) {
		problem_found(verify, page_no, "it is reached twice");
		return false;
	}
	if (verify->visit)
		verify->visit(verify->context, page_no);
	return true;
}

static void chain_verify(struct verify *verify, uint32_t page_no,
                         uint32_t left)
{
	struct pager *pager = verify->tree->pager;
	const uint8_t *page;
	struct err err;
	uint32_t next;

	for (uint32_t index = 0; left && !stopped(verify); index++) {
		int rc = pager_read(pager, page_no, &page, &err);

		if (read_failed(verify, rc, &err) ||
		    !page_is_new(verify, page_no))
			return;
		rc = overflow_page_check(verify->tree, page_no, page, index,
		                         left, &err);
		if (read_failed(verify, rc, &err))
			return;
		left -= load_le32(page + OVERFLOW_SIZE_AT);
		next = load_le32(page + OVERFLOW_NEXT_AT);
		pager_release(pager, page_no, page);
		page_no = next;
	}
}

static void leaf_values_verify(struct verify *verify, uint32_t page_no,
                               const struct node *node)
{
	struct leaf_cell cell;

	for (uint32_t i = 0; i < node->count; i++) {
		if (!leaf_cell_read(node, i, &cell) || !cell.overflow)
			continue;
		if (overflow_value_size(&cell) <= cell.value_size)
			problem_found(verify, page_no,
			              "a value in overflow pages has none");
		else
			chain_verify(verify, overflow_value_page(&cell),
			             overflow_value_size(&cell) -
			             cell.value_size);
	}
}

/* (V2) */
static void bounds_verify(struct verify *verify, uint32_t page_no,
                          const struct node *node)
{
	struct bounds *bounds = &verify->bounds[node->level];
	uint32_t first = node_is_leaf(node) ? 0 : 1;
	struct entry entry, bound;

	if (node->count <= first)
		return;
	if (bounds->low_size != UINT32_MAX) {
		bound = entry_of_key(span_of(bounds->low, bounds->low_size), 0);
		node_entry(node, first, &entry);
		if (entry_compare(&entry, &bound) < 0)
			problem_found(verify, page_no, "its first key is below "
			              "the separator that leads to it");
	}
	if (bounds->high_size != UINT32_MAX) {
		bound = entry_of_key(span_of(bounds->high, bounds->high_size),
		                     0);
		node_entry(node, node->count - 1, &entry);
		if (entry_compare(&entry, &bound) >= 0)
			problem_found(verify, page_no, "its last key is not "
			              "below the separator that follows");
	}
}

static void bound_copy(const struct entry *entry, uint8_t *key, uint32_t *size)
{
	entry_key_copy(entry, key);
	*size = entry_key_size(entry);
}

/* Separators around child `slot`, from the node's own and those around it. */
static void bounds_narrow(struct verify *verify, const struct node *node,
                          uint32_t slot)
{
	struct bounds *outer = &verify->bounds[node->level];
	struct bounds *inner = &verify->bounds[node->level - 1];
	struct entry entry;

	*inner = *outer;
	if (slot > 0) {
		node_entry(node, slot, &entry);
		bound_copy(&entry, inner->low, &inner->low_size);
	}
	if (slot + 1 < node->count) {
		node_entry(node, slot + 1, &entry);
		bound_copy(&entry, inner->high, &inner->high_size);
	}
}

/* (V3), and the values. */
static void leaf_verify(struct verify *verify, uint32_t page_no,
                        const struct node *node)
{
	if (verify->leaf_pages && verify->next_expected != page_no)
		problem_found(verify, page_no,
		              "the leaf before it leads elsewhere");
	verify->leaf_pages++;
	verify->next_expected = node_next(node);
	verify->entries += node->count;
	leaf_values_verify(verify, page_no, node);
}

static void node_check(struct verify *verify, uint32_t page_no, uint8_t level)
{
	struct btree *tree = verify->tree;
	const char *problem;
	struct node node;
	struct err err;
	int rc;

	rc = tree_node_read(tree, page_no, level, &node, &err);
	if (read_failed(verify, rc, &err) || !page_is_new(verify, page_no))
		return;
	problem = node_verify(&node);
	if (problem)
		problem_found(verify, page_no, problem);
	else
		bounds_verify(verify, page_no, &node);
	if (node_is_leaf(&node)) {
		leaf_verify(verify, page_no, &node);
	} else if (!problem) {
		verify->interior_pages++;
		for (uint32_t i = 0; i < node.count && !stopped(verify); i++) {
			bounds_narrow(verify, &node, i);
			node_check(verify, node_child(&node, i),
			           (uint8_t)(level - 1));
		}
	}
	pager_release(tree->pager, page_no, node.page);
}

static void garbage_verify(struct verify *verify)
{
	uint32_t page_no = verify->state.garbage, next;
	const uint8_t *page;
	struct err err;
	int rc;

	while (page_no && !stopped(verify)) {
		rc = pager_read(verify->tree->pager, page_no, &page, &err);
		if (read_failed(verify, rc, &err) ||
		    !page_is_new(verify, page_no))
			return;
		if (page[OVERFLOW_KIND_AT] != PAGE_OVERFLOW) {
			problem_found(verify, page_no, "it waits to be freed "
			              "but is no overflow page");
			return;
		}
		next = load_le32(page + OVERFLOW_NEXT_AT);
		pager_release(verify->tree->pager, page_no, page);
		page_no = next;
	}
}

/* (V4), and the end of (V3). */
static void counts_verify(struct verify *verify)
{
	const struct tree_state *state = &verify->state;
	char reason[160];

	if (verify->next_expected)
		problem_found(verify, verify->next_expected,
		              "the last leaf leads to it");
	if (state->entries == verify->entries &&
	    state->leaf_pages == verify->leaf_pages &&
	    state->interior_pages == verify->interior_pages)
		return;
	snprintf(reason, sizeof reason,
	         "the tree below this root has %llu entries in %u leaves "
	         "under %u nodes, its state says %llu, %u, %u",
	         (unsigned long long)verify->entries, verify->leaf_pages,
	         verify->interior_pages, (unsigned long long)state->entries,
	         state->leaf_pages, state->interior_pages);
	problem_found(verify, state->root, reason);
}

static int verify_run(struct verify *verify)
{
	struct heap *heap = verify->tree->pager->heap;
	struct bounds *top;

	verify->bounds = heap_allocate(heap, verify->state.height *
	                               sizeof *verify->bounds);
	sparse_bits_init(&verify->seen, heap);
	if (!verify->bounds) {
		verify->rc = err_set(verify->err, ERR_NOMEM, "check tree",
		                     verify->tree->pager->name,
		                     "no memory to start");
		goto free_memory;
	}
	top = &verify->bounds[verify->state.height - 1];
	top->low_size = top->high_size = UINT32_MAX;
	node_check(verify, verify->state.root,
	           (uint8_t)(verify->state.height - 1));
	garbage_verify(verify);
	if (!stopped(verify))
		counts_verify(verify);
free_memory:
	heap_free(heap, verify->bounds);
	sparse_bits_free(&verify->seen);
	return verify->rc;
}

int btree_verify(struct btree *tree,
                 void (*problem)(void *context, const char *sentence),
                 void (*visit)(void *context, uint32_t page_no),
                 void *context, struct err *err)
{
	struct verify verify = { .tree = tree, .problem = problem,
	                         .visit = visit, .context = context,
	                         .err = err };
	int rc = tree_state_read(tree, &verify.state, err);

	if (rc)
		return rc;
	return verify_run(&verify);
}
