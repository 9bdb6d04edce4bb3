/*
 * check_files.c - one tree or graph verified, and the pages of its file counted.
 *
 * The store has vouched for the bytes of every page; here is said whether they make
 * a tree or a graph: order, links, counts, and that each page of the file is its
 * first one, reached once, or free.
 */
#include "vtab/check.h"

#include <stdio.h>
#include <string.h>

#include "base/sparse_bits.h"

struct file_check {
	const struct check_file *file;
	void (*problem)(void *context, const char *sentence);
	void *context;
	struct sparse_bits reached;
	uint32_t reached_count;
	bool wrong, no_memory;
};

static void tell(void *context, const char *sentence)
{
	struct file_check *check = context;

	check->wrong = true;
	check->problem(check->context, sentence);
}

static void visit(void *context, uint32_t page_no)
{
	struct file_check *check = context;
	char sentence[200];
	bool before;

	if (!check->file->info)
		return; /* the walk itself refuses to see a page twice */
	if (page_no >= check->file->info->page_count) {
		snprintf(sentence, sizeof sentence,
		         "check %s: page %u is reached, there are %u",
		         check->file->pager->name, page_no,
		         check->file->info->page_count);
		tell(check, sentence);
		return;
	}
	if (!sparse_bits_add(&check->reached, page_no, &before)) {
		check->no_memory = true;
		return;
	}
	if (before) {
		snprintf(sentence, sizeof sentence,
		         "check %s: page %u is reached twice",
		         check->file->pager->name, page_no);
		tell(check, sentence);
		return;
	}
	check->reached_count++;
}

/* Page 0 belongs to the pager. */
static void count_pages(struct file_check *check)
{
	const struct store_file_info *info = check->file->info;
	char sentence[200];

	if (!info || check->wrong ||
	    1 + (uint64_t)check->reached_count + info->free_pages ==
	            info->page_count)
		return;
	snprintf(sentence, sizeof sentence,
	         "check %s: of %u pages %u are reached and %u free",
	         info->name, info->page_count, check->reached_count,
	         info->free_pages);
	tell(check, sentence);
}

static int verify_tree(struct file_check *check, struct err *err)
{
	struct btree tree;
	int rc = btree_open(&tree, check->file->pager, err);

	tree.breath = check->file->breath;
	return rc ? rc : btree_verify(&tree, tell, visit, check, err);
}

static int verify_graph(struct file_check *check, struct err *err)
{
	struct hnsw *graph;
	int rc = hnsw_open(check->file->pager, check->file->kernels, &graph,
	                   err);

	if (rc)
		return rc;
	hnsw_breathe(graph, check->file->breath);
	rc = hnsw_verify(graph, tell, visit, NULL, check, err);
	hnsw_close(graph);
	return rc;
}

int check_file(const struct check_file *file, struct heap *heap,
               void (*problem)(void *context, const char *sentence),
               void *context, struct err *err)
{
	struct file_check check = { .file = file, .problem = problem,
		                    .context = context };
	int rc;

	sparse_bits_init(&check.reached, heap);
	rc = file->graph ? verify_graph(&check, err) : verify_tree(&check, err);
	/* What could not even be opened has told nobody yet. */
	if (rc == ERR_CORRUPT && !check.wrong)
		tell(&check, err->text);
	if (!rc && check.no_memory)
		rc = err_set(err, ERR_NOMEM, "check", file->pager->name,
		             "no memory for a bit per page");
	if (!rc)
		count_pages(&check);
	sparse_bits_free(&check.reached);
	return rc == ERR_CORRUPT ? ERR_NONE : rc;
}
