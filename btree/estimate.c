/*
 * estimate.c - about how many entries lie in a range, for query plans.
 *
 * The position of a key among all entries follows from its slots on the way
 * down, as if siblings were equally full. Within one leaf the answer is exact.
 */
#include "btree/search.h"

/* Where the path's position lies between 0 and 1, and in one leaf. */
static double position_of(const struct path *path)
{
	double position = 0;

	for (uint32_t level = 0; level < path->height; level++) {
		const struct path_step *step = &path->at[level];
		double count = step->node.count ? step->node.count : 1;

		position = (step->slot + position) / count;
	}
	return position;
}

static int bound_find(struct btree *tree, struct span key, bool last,
                      struct path *path, struct err *err)
{
	static const uint8_t lowest[8];
	struct probe probe;
	bool found;

	if (!key.data && last)
		return tree_descend_last(tree, path, err);
	if (!key.data)
		key = span_of(lowest, tree->keys == BTREE_KEYS_ROWID ? 8 : 0);
	else if (tree->keys == BTREE_KEYS_ROWID && key.size != 8)
		return tree_key_refuse(tree, key, err);
	probe = probe_of(key);
	return tree_descend(tree, &probe, path, &found, err);
}

int btree_estimate(struct btree *tree, struct span low, struct span high,
                   uint64_t *entries, struct err *err)
{
	struct path from, to;
	struct tree_state state;
	double share;
	int rc;

	rc = tree_state_read(tree, &state, err);
	if (!rc)
		rc = bound_find(tree, low, false, &from, err);
	if (!rc)
		rc = bound_find(tree, high, true, &to, err);
	if (rc)
		return rc;
	if (from.at[0].page_no == to.at[0].page_no) {
		*entries = to.at[0].slot > from.at[0].slot
			? to.at[0].slot - from.at[0].slot : 0;
		return ERR_NONE;
	}
	share = position_of(&to) - position_of(&from);
	*entries = share > 0 ? (uint64_t)(share * (double)state.entries) : 0;
	return ERR_NONE;
}
