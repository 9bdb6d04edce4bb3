/*
 * check_files.c - the trees and graphs of a database, each by its own verifier.
 *
 * The store has vouched for the bytes of every page; here is said whether they make
 * trees and graphs: order, links, counts, and that each page of a file is its first
 * one, reached once, or free.
 */
#include "ext/ext.h"

#include <stdio.h>

#include "btree/btree.h"
#include "hnsw/hnsw.h"

SQLITE_EXTENSION_INIT3

struct file_list {
	struct heap *heap;
	struct store_file_info *files;
	size_t count, room;
};

struct file_check {
	const struct store_file_info *info;
	void (*problem)(void *context, const char *sentence);
	void *context;
	uint8_t *reached;     /* a bit per page */
	uint32_t reached_count;
	bool wrong;
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
	uint8_t bit = (uint8_t)(1u << page_no % 8);
	char sentence[200];

	if (page_no >= check->info->page_count) {
		snprintf(sentence, sizeof sentence,
		         "check %s: page %u is reached, there are %u",
		         check->info->name, page_no, check->info->page_count);
		tell(check, sentence);
		return;
	}
	if (check->reached[page_no / 8] & bit) {
		snprintf(sentence, sizeof sentence,
		         "check %s: page %u is reached twice",
		         check->info->name, page_no);
		tell(check, sentence);
		return;
	}
	check->reached[page_no / 8] |= bit;
	check->reached_count++;
}

/* Page 0 belongs to the pager. */
static void count_pages(struct file_check *check)
{
	uint64_t known = 1 + (uint64_t)check->reached_count +
	                 check->info->free_pages;
	char sentence[200];

	if (known == check->info->page_count || check->wrong)
		return;
	snprintf(sentence, sizeof sentence,
	         "check %s: of %u pages %u are reached and %u free",
	         check->info->name, check->info->page_count,
	         check->reached_count, check->info->free_pages);
	tell(check, sentence);
}

static int verify_tree(struct file_check *check, struct pager *pager,
                       struct err *err)
{
	struct btree tree;
	int rc = btree_open(&tree, pager, err);

	return rc ? rc : btree_verify(&tree, tell, visit, check, err);
}

static int verify_graph(struct file_check *check, struct pager *pager,
                        enum cpu_level cpu, struct err *err)
{
	struct hnsw *graph;
	int rc = hnsw_open(pager, hnsw_kernels_for(cpu), &graph, err);

	if (rc)
		return rc;
	rc = hnsw_verify(graph, tell, visit, NULL, check, err);
	hnsw_close(graph);
	return rc;
}

static int check_file(struct file_check *check, struct store_view *view,
                      const struct vfs_environment *environment,
                      struct err *err)
{
	struct heap *heap = environment->heap;
	struct pager *pager;
	int rc = store_pager(view, check->info->file_id, &pager, err);

	if (rc)
		return rc;
	check->reached = heap_zeroed(heap, check->info->page_count / 8 + 1);
	if (!check->reached)
		return err_set(err, ERR_NOMEM, "check", check->info->name,
		               "no memory for a bit per page");
	rc = check->info->kind == STORE_FILE_GRAPH
		? verify_graph(check, pager, environment->cpu, err)
		: verify_tree(check, pager, err);
	/* What could not even be opened has told nobody yet. */
	if (rc == ERR_CORRUPT && !check->wrong)
		tell(check, err->text);
	count_pages(check);
	heap_free(heap, check->reached);
	return rc == ERR_CORRUPT ? ERR_NONE : rc;
}

static int add_file(void *context, const struct store_file_info *info)
{
	struct file_list *list = context;

	if (info->kind == STORE_FILE_CATALOG || info->kind == STORE_FILE_SQLITE)
		return 0;
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		void *files = heap_resize(list->heap, list->files,
		                          room * sizeof *list->files);

		if (!files)
			return ERR_NOMEM;
		list->files = files;
		list->room = room;
	}
	list->files[list->count++] = *info;
	return 0;
}

int ext_check_files(struct store_view *view,
                    void (*problem)(void *context, const char *sentence),
                    void *context, bool *wrong, struct err *err)
{
	struct vfs_environment *environment = vfs_environment_find();
	struct file_list list = { .heap = environment->heap };
	int rc = store_file_each(view, add_file, &list, err);

	*wrong = false;
	if (rc == ERR_NOMEM)
		err_set(err, ERR_NOMEM, "check", "", "no memory for the list of files");
	for (size_t i = 0; !rc && i < list.count; i++) {
		struct file_check check = { .info = &list.files[i],
			                    .problem = problem,
			                    .context = context };

		rc = check_file(&check, view, environment, err);
		*wrong = *wrong || check.wrong;
	}
	heap_free(list.heap, list.files);
	return rc;
}
