/*
 * split.c - plans splits from leaf to root, then carries the plan out.
 *
 * The plan is made on pages as they are read and changes nothing. It says per
 * level how many entries stay; separators are derived again while it is carried
 * out, so that at most two of them are held at a time.
 *
 * Where to divide: behind everything when the new entry is the last of its page
 * (a load in key order leaves full pages behind), in front of everything when it
 * is the first of the tree, else in the middle by bytes, moved a little to where
 * the separator is short. A key that does not share its page's prefix can only
 * be the first or last of the page; it is divided off too.
 */
#include "btree/split.h"

#include <assert.h>
#include <string.h>

enum { WINDOW_DIVISOR = 20 };

static bool shares_prefix(const struct node *node, const struct entry *entry)
{
	/* A key in one piece: prefix, head and rest follow each other. */
	return entry_key_size(entry) >= node->prefix_size &&
	       (node->prefix_size == 0 ||
	        memcmp(entry->prefix.data, node->page + NODE_HEADER_SIZE,
	               node->prefix_size) == 0);
}

static struct entry entry_behind(const struct entry *entry,
                                 uint32_t prefix_size)
{
	struct entry behind = entry_of_key(
		span_of(entry->prefix.data, entry_key_size(entry)),
		prefix_size);

	behind.value_head = entry->value_head;
	behind.value_body = entry->value_body;
	behind.child = entry->child;
	return behind;
}

static bool rebuild_find(const struct sequence *sequence, struct node_fit *fit)
{
	if (!sequence_layout(sequence, 0, sequence_count(sequence),
	                     sequence->left->prefix_size, &fit->layout))
		return false;
	fit->place.how = fit->layout.fits ? PLACE_REBUILD : PLACE_NONE;
	return true;
}

bool node_fit_find(const struct sequence *sequence, struct node_fit *fit)
{
	const struct node *node = sequence->left;
	const struct entry *entry = sequence->inserted;
	uint32_t size, old_size;

	*fit = (struct node_fit){ .place = { .how = PLACE_NONE } };
	if (!shares_prefix(node, entry))
		return rebuild_find(sequence, fit);
	size = entry_cell_size(entry, node->prefix_size, node_is_leaf(node),
	                       node->rowid);
	if (!sequence->replaces) {
		fit->place = node_place_new(node, size);
	} else {
		if (!node_cell_size(node, sequence->insert_at, &old_size))
			return false;
		fit->place = node_place_larger(node, size, old_size);
	}
	if (fit->place.how == PLACE_REBUILD)
		return rebuild_find(sequence, fit);
	return true;
}

void node_rewrite(const struct sequence *sequence, uint32_t from, uint32_t to,
                  const struct layout *layout, uint8_t *page)
{
	uint32_t usable_size = sequence->left->usable_size;
	uint8_t old[BTREE_USABLE_SIZE_MAX];
	struct sequence moved = *sequence;
	struct node node;

	memcpy(old, page, usable_size);
	node_parse(&node, old, usable_size, sequence->left->rowid
	           ? BTREE_KEYS_ROWID : BTREE_KEYS_BYTES);
	moved.left = &node;
	sequence_write(&moved, from, to, layout, node_next(&node), page);
}

void node_fit_apply(const struct sequence *sequence,
                    const struct node_fit *fit, uint8_t *page)
{
	const struct node *node = sequence->left;
	struct entry entry;
	uint32_t old_size;

	assert(fit->place.how != PLACE_NONE);
	if (fit->place.how == PLACE_REBUILD) {
		node_rewrite(sequence, 0, sequence_count(sequence),
		             &fit->layout, page);
		return;
	}
	entry = entry_behind(sequence->inserted, node->prefix_size);
	if (!sequence->replaces) {
		node_insert(page, node, &fit->place, sequence->insert_at,
		            &entry);
		return;
	}
	node_cell_size(node, sequence->insert_at, &old_size);
	leaf_replace(page, node, &fit->place, sequence->insert_at, old_size,
	             &entry);
}

bool sequence_separator(const struct sequence *sequence, uint32_t index,
                        uint8_t *key, uint32_t *key_size)
{
	struct entry left, right;
	uint32_t common;

	if (!sequence_entry(sequence, index, &right))
		return false;
	entry_key_copy(&right, key);
	*key_size = entry_key_size(&right);
	if (!node_is_leaf(sequence->left) || sequence->left->rowid)
		return true;
	if (!sequence_entry(sequence, index - 1, &left))
		return false;
	common = entry_common_size(&left, &right);
	if (common < *key_size)
		*key_size = common + 1;
	return true;
}

static bool separator_size(const struct sequence *sequence, uint32_t index,
                           uint32_t *size)
{
	struct entry left, right;

	if (!sequence_entry(sequence, index, &right))
		return false;
	*size = entry_key_size(&right);
	if (!node_is_leaf(sequence->left))
		return true;
	if (!sequence_entry(sequence, index - 1, &left))
		return false;
	*size = entry_common_size(&left, &right);
	return true;
}

/* The place to divide at, with entries as large as they are behind this prefix;
 * `total` counts all but header and prefix, *left what is left of that place. */
static bool divide_behind(const struct sequence *sequence, uint32_t prefix,
                          uint32_t total, uint32_t *left_count, uint32_t *left)
{
	const struct node *node = sequence->left;
	bool leaf = node_is_leaf(node), rowid = node->rowid, found = false;
	uint32_t room = node->usable_size - node_heads_at(prefix);
	uint32_t window = total / WINDOW_DIVISOR, distance, size, sum = 0;
	uint32_t best_size = 0, best_distance = 0;
	uint32_t count = sequence_count(sequence);
	uint32_t key_size;

	for (uint32_t i = 1; i < count && sum <= room; i++) {
		if (!sequence_cell_size(sequence, i - 1, prefix,
		                        !leaf && i == 1, &size, &key_size))
			return false;
		sum += node_stride(leaf, rowid) + size;
		distance = sum > total / 2 ? sum - total / 2 : total / 2 - sum;
		if (found && distance > window && sum > total / 2)
			break;
		if (sum > room || total - sum > room ||
		    (found && distance > window && distance >= best_distance))
			continue;
		size = 0;
		if (!rowid && distance <= window &&
		    !separator_size(sequence, i, &size))
			return false;
		if (!found || best_distance > window || size < best_size ||
		    (size == best_size && distance < best_distance)) {
			found = true;
			best_size = size;
			best_distance = distance;
			*left_count = i;
			*left = sum;
		}
	}
	return found;
}

/* A half that fits with one prefix is given the longest it can have. A longer
 * prefix makes no cell larger, so there is seldom anything to measure. */
static bool half_layout(const struct sequence *sequence, uint32_t from,
                        uint32_t to, uint32_t prefix,
                        const struct measure *measure, struct layout *layout)
{
	uint32_t longest, more;

	*layout = (struct layout){ .prefix_size = prefix,
	                           .bytes = measure->bytes, .fits = true };
	if (!sequence_prefix(sequence, from, to, &longest))
		return false;
	if (longest <= prefix)
		return true;
	if (longest > measure->key_size_min)
		return sequence_layout(sequence, from, to, prefix, layout);
	more = node_heads_at(longest) - node_heads_at(prefix);
	if (layout->bytes + more <= sequence->left->usable_size) {
		layout->prefix_size = longest;
		layout->bytes += more;
	}
	return true;
}

static bool halves_layout(const struct sequence *sequence, uint32_t prefix,
                          const struct measure *whole, uint32_t left_bytes,
                          struct division *division)
{
	uint32_t at = division->left_count, base = node_heads_at(prefix);
	struct measure left = *whole, right = *whole;

	left.bytes = base + left_bytes;
	right.bytes = whole->bytes - left_bytes;
	return half_layout(sequence, 0, at, prefix, &left, &division->left) &&
	       half_layout(sequence, at, sequence_count(sequence), prefix,
	                   &right, &division->right) &&
	       division->left.fits && division->right.fits;
}

bool sequence_divide(const struct sequence *sequence,
                     struct division *division)
{
	uint32_t tries[3] = { 0, sequence->left->prefix_size, 0 };
	uint32_t count = sequence_count(sequence), left = 0;
	struct measure whole;

	if (!sequence_prefix(sequence, 0, count, &tries[0]))
		return false;
	for (int i = 0; i < 3; i++) {
		if (i && tries[i] >= tries[i - 1])
			continue;
		if (!sequence_measure(sequence, 0, count, tries[i], &whole))
			return false;
		if (divide_behind(sequence, tries[i],
		                  whole.bytes - node_heads_at(tries[i]),
		                  &division->left_count, &left))
			return halves_layout(sequence, tries[i], &whole, left,
			                     division);
	}
	return false;
}

static bool path_is_first(const struct path *path)
{
	for (uint32_t level = 0; level < path->height; level++)
		if (path->at[level].slot)
			return false;
	return true;
}

/* Divided at a given place. */
static bool divide_at(const struct sequence *sequence, uint32_t left_count,
                      struct division *division)
{
	uint32_t prefix = sequence->left->prefix_size;

	division->left_count = left_count;
	return sequence_layout(sequence, 0, left_count, prefix,
	                       &division->left) &&
	       sequence_layout(sequence, left_count, sequence_count(sequence),
	                       prefix, &division->right) &&
	       division->left.fits && division->right.fits;
}

/* The new entry goes to a leaf of its own, the old one stays as it is. The new
 * page gets the prefix that its key shares with the one before it, because keys
 * to come are likely to share that too. */
static bool divide_last_off(const struct sequence *sequence,
                            struct division *division)
{
	uint32_t last = sequence_count(sequence) - 1;
	const struct node *node = sequence->left;
	struct layout *right = &division->right;
	struct entry a, b;

	division->left_count = last;
	*right = (struct layout){ .fits = true };
	if (!last || !sequence_entry(sequence, last, &b))
		return false; /* an empty page is not full */
	if (!node->rowid) {
		if (!sequence_entry(sequence, last - 1, &a))
			return false;
		right->prefix_size = entry_common_size(&a, &b);
	}
	right->bytes = node_heads_at(right->prefix_size) +
	               node_stride(true, node->rowid) +
	               entry_cell_size(&b, right->prefix_size, true,
	                               node->rowid);
	return right->bytes <= node->usable_size;
}

static bool divide(const struct sequence *sequence, const struct path *path,
                   struct division *division)
{
	uint32_t count = sequence_count(sequence), at = sequence->insert_at;
	bool leaf = node_is_leaf(sequence->left);

	if (sequence->replaces)
		return sequence_divide(sequence, division);
	if (at == count - 1 && leaf)
		return divide_last_off(sequence, division);
	if (at == count - 1)
		return divide_at(sequence, count < 4 ? count - 1 : count - 2,
		                 division);
	if (leaf && at == 0 &&
	    (path_is_first(path) ||
	     !shares_prefix(sequence->left, sequence->inserted)))
		return divide_at(sequence, 1, division);
	if (!leaf && at == 1 && count >= 4 &&
	    !shares_prefix(sequence->left, sequence->inserted))
		return divide_at(sequence, 2, division);
	return sequence_divide(sequence, division);
}

static struct sequence sequence_of_parent(const struct path *path,
                                          uint32_t level,
                                          const struct entry *entry)
{
	return (struct sequence){
		.left = &path->at[level].node,
		.inserted = entry,
		.insert_at = path->at[level].slot + 1,
	};
}

static int refuse(struct btree *tree, const struct path *path, uint32_t level,
                  struct err *err)
{
	return tree_corrupt(tree, path->at[level].page_no,
	                    "its cells leave the page or are out of order",
	                    err);
}

int split_plan(struct btree *tree, const struct path *path,
               const struct sequence *leaf, struct split_plan *plan,
               struct err *err)
{
	uint8_t keys[2][BTREE_KEY_SIZE_MAX];
	struct sequence sequence = *leaf;
	struct division division;
	struct entry entries[2];
	uint32_t key_size;

	plan->new_root = false;
	for (uint32_t level = 0;; level++) {
		uint8_t *key = keys[level & 1];
		struct entry *entry = &entries[level & 1];

		if (!divide(&sequence, path, &division) ||
		    !sequence_separator(&sequence, division.left_count, key,
		                        &key_size))
			return refuse(tree, path, level, err);
		plan->left_count[level] = division.left_count;
		plan->left[level] = division.left;
		plan->right[level] = division.right;
		plan->split_count = level + 1;
		if (level + 1 == path->height)
			break;
		*entry = entry_of_key(span_of(key, key_size), 0);
		sequence = sequence_of_parent(path, level + 1, entry);
		if (!node_fit_find(&sequence, &plan->fit))
			return refuse(tree, path, level + 1, err);
		if (plan->fit.place.how != PLACE_NONE)
			return ERR_NONE;
	}
	plan->new_root = true;
	if (path->height == NODE_DEPTH_MAX)
		return err_set(err, ERR_TOOBIG, "grow tree", tree->pager->name,
		               "it has %d levels already", NODE_DEPTH_MAX);
	return ERR_NONE;
}

int split_acquire(struct change *change, const struct path *path,
                  const struct split_plan *plan, struct split_pages *pages,
                  struct err *err)
{
	struct pager *pager = change->tree->pager;
	int rc = ERR_NONE;

	for (uint32_t level = 0; !rc && level < plan->split_count; level++) {
		rc = pager_edit(pager, path->at[level].page_no,
		                &pages->left[level], err);
		if (!rc)
			rc = change_allocate(change, level ? PAGE_INTERIOR
			                                   : PAGE_LEAF,
			                     &pages->right[level], err);
	}
	if (rc)
		return rc;
	if (plan->new_root)
		return change_allocate(change, PAGE_INTERIOR, &pages->root,
		                       err);
	return pager_edit(pager, path->at[plan->split_count].page_no,
	                  &pages->above, err);
}

/* The new entry is alone to the right: the left page loses nothing. */
static bool left_stays(const struct sequence *sequence, uint32_t left_count)
{
	return !sequence->replaces && sequence->insert_at == left_count &&
	       left_count == sequence->left->count;
}

/* Divides one node; the separator between the halves lands in `key`. */
static void node_divide(const struct sequence *sequence,
                        const struct split_plan *plan, uint32_t level,
                        const struct split_pages *pages, uint8_t *key,
                        uint32_t *key_size)
{
	uint32_t left_count = plan->left_count[level];
	uint8_t *left = pages->left[level];
	bool leaf = node_is_leaf(sequence->left);
	uint32_t next = node_next(sequence->left);

	if (!sequence_separator(sequence, left_count, key, key_size))
		assert(false); /* the plan has read it */
	sequence_write(sequence, left_count, sequence_count(sequence),
	               &plan->right[level], next,
	               pages->right[level].page);
	if (!left_stays(sequence, left_count))
		node_rewrite(sequence, 0, left_count, &plan->left[level],
		             left);
	if (leaf)
		store_le32(left + NODE_NEXT_AT, pages->right[level].page_no);
}

/* A root over two nodes. */
static void root_write(struct change *change, const struct split_plan *plan,
                       const struct split_pages *pages, uint32_t left_no,
                       const struct entry *separator)
{
	uint32_t usable_size = change->tree->pager->usable_size;
	uint8_t empty[NODE_HEADER_SIZE + NODE_HEAD_SIZE + NODE_CHILD_SIZE +
	              NODE_REF_SIZE] = { 0 };
	struct sequence sequence = { .inserted = separator, .insert_at = 1 };
	struct layout layout = { .fits = true };
	struct measure measure;
	struct node node;

	node_init(empty, usable_size, change->tree->keys,
	          (uint8_t)plan->split_count);
	store_le16(empty + NODE_COUNT_AT, 1);
	store_le16(empty + NODE_ROOM_AT, 1);
	store_le32(empty + NODE_HEADER_SIZE + NODE_HEAD_SIZE, left_no);
	node_parse(&node, empty, usable_size, change->tree->keys);
	sequence.left = &node;
	sequence_measure(&sequence, 0, 2, 0, &measure);
	layout.bytes = measure.bytes;
	sequence_write(&sequence, 0, 2, &layout, 0, pages->root.page);
}

static void state_count(struct change *change, const struct split_plan *plan,
                        const struct split_pages *pages)
{
	change->state.leaf_pages++;
	change->state.interior_pages += plan->split_count - 1;
	if (!plan->new_root)
		return;
	change->state.interior_pages++;
	change->state.height++;
	change->state.root = pages->root.page_no;
}

void split_apply(struct change *change, const struct path *path,
                 const struct sequence *leaf, const struct split_plan *plan,
                 const struct split_pages *pages)
{
	uint8_t keys[2][BTREE_KEY_SIZE_MAX];
	struct sequence sequence = *leaf;
	struct entry entries[2];
	uint32_t key_size;

	for (uint32_t level = 0; level < plan->split_count; level++) {
		uint8_t *key = keys[level & 1];
		struct entry *entry = &entries[level & 1];

		node_divide(&sequence, plan, level, pages, key, &key_size);
		*entry = entry_of_key(span_of(key, key_size), 0);
		entry->child = pages->right[level].page_no;
		if (level + 1 < path->height)
			sequence = sequence_of_parent(path, level + 1, entry);
		else
			root_write(change, plan, pages,
			           path->at[level].page_no, entry);
	}
	if (!plan->new_root)
		node_fit_apply(&sequence, &plan->fit, pages->above);
	state_count(change, plan, pages);
}
