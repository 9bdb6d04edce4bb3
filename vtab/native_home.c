/*
 * native_home.c - the home of tables in a turdb directory: a store's view.
 *
 * Architecture  The view belongs to the VFS's file and moves with SQLite's locks:
 *               it reads from SHARED, writes from RESERVED and is committed in
 *               FCNTL_COMMIT_PHASETWO together with SQLite's own pages. So the
 *               transaction's calls have nothing to do here, and savepoints go
 *               straight to the view's marks.
 * Safety        After DETACH the view is gone while a prepared statement may
 *               still hold a table: close() frees only the home.
 */
#include "vtab/dictionary.h"
#include "vtab/sqlite.h"

#include "vfs/vfs.h"

struct native_home {
	struct home base;
	struct store_view *view;
	struct heap *heap;
};

static struct native_home *native(struct home *home)
{
	return (struct native_home *)home;
}

static int native_enter(struct home *home, bool *entered, struct err *err)
{
	struct store_view *view = native(home)->view;

	*entered = false;
	if (store_view_reading(view))
		return ERR_NONE;
	*entered = true;
	return store_view_begin(view, err);
}

static void native_leave(struct home *home, bool entered)
{
	if (entered)
		store_view_end(native(home)->view);
}

static bool native_writing(const struct home *home)
{
	return store_view_writing(((const struct native_home *)home)->view);
}

static int native_begin(struct home *home, struct err *err)
{
	if (native_writing(home))
		return ERR_NONE;
	return err_set(err, ERR_READONLY, "write to", home->name,
	               "the connection holds no write lock on it");
}

static int native_sync(struct home *home, struct err *err)
{
	(void)home, (void)err;
	return ERR_NONE;
}

static void native_nothing(struct home *home)
{
	(void)home;
}

static int native_savepoint(struct home *home, int n, struct err *err)
{
	return store_view_savepoint(native(home)->view, n, err);
}

static void native_release(struct home *home, int n)
{
	store_view_release(native(home)->view, n);
}

static void native_rollback_to(struct home *home, int n)
{
	store_view_rollback_to(native(home)->view, n);
}

static void native_table_hold(struct home *home, uint32_t table_file, bool held)
{
	(void)home, (void)table_file, (void)held; /* pagers live with the view */
}

static int native_file_create(struct home *home, enum store_file_kind kind,
                              const char *hint, uint32_t *file_id,
                              struct err *err)
{
	return store_file_create(native(home)->view, kind, hint,
	                         STORE_PAGE_SIZE, file_id, err);
}

static int native_file_drop(struct home *home, uint32_t file_id,
                            struct err *err)
{
	return store_file_drop(native(home)->view, file_id, err);
}

static int native_file_info(struct home *home, uint32_t file_id,
                            struct store_file_info *info, struct err *err)
{
	return store_file_info(native(home)->view, file_id, info, err);
}

/* The store's own check knows. */
static int native_file_check(struct home *home, uint32_t file_id,
                             void (*problem)(void *context,
                                             const char *sentence),
                             void *context, struct err *err)
{
	(void)home, (void)file_id, (void)problem, (void)context, (void)err;
	return ERR_NONE;
}

static int native_pager(struct home *home, uint32_t file_id,
                        struct pager **pager, struct err *err)
{
	return store_pager(native(home)->view, file_id, pager, err);
}

static int native_operation_end(struct home *home, struct err *err)
{
	return store_view_operation_end(native(home)->view, err);
}

static void native_close(struct home *home)
{
	heap_free(native(home)->heap, home);
}

static const struct home_methods native_methods = {
	.enter = native_enter,
	.leave = native_leave,
	.writing = native_writing,
	.begin = native_begin,
	.sync = native_sync,
	.commit = native_nothing,
	.rollback = native_nothing,
	.savepoint = native_savepoint,
	.release = native_release,
	.rollback_to = native_rollback_to,
	.table_make = dictionary_table_make,
	.table_find = dictionary_find,
	.table_put = dictionary_put,
	.table_rename = dictionary_rename,
	.table_remove = dictionary_table_remove,
	.layout_put = dictionary_layout_put,
	.layout_find = dictionary_layout_find,
	.table_hold = native_table_hold,
	.file_create = native_file_create,
	.file_drop = native_file_drop,
	.file_info = native_file_info,
	.file_check = native_file_check,
	.pager = native_pager,
	.operation_end = native_operation_end,
	.relieve = native_nothing,
	.close = native_close,
};

/* (rule 15) */
int home_native_find(struct heap *heap, sqlite3 *db, const char *schema,
                     struct home **home, struct err *err)
{
	struct store_view *view = NULL;
	struct store *store = NULL;
	struct native_home *found;

	if (sqlite3_file_control(db, schema, VFS_FCNTL_VIEW, &view) ||
	    !view ||
	    sqlite3_file_control(db, schema, VFS_FCNTL_STORE, &store) || !store)
		return err_set(err, ERR_UNSUPPORTED, "find tables in schema",
		               schema, "it is not a turdb directory; open one "
		               "as 'file:name?vfs=turdb' (or ATTACH it so) and "
		               "create the table there");
	found = heap_zeroed(heap, sizeof *found);
	if (!found)
		return err_set(err, ERR_NOMEM, "find tables in schema", schema,
		               "no memory");
	found->base = (struct home){
		.methods = &native_methods,
		.epoch = store_view_epoch(view),
		.read = store_view_read_mark(view),
		.name = store_path(store),
		.holders = 1 };
	found->view = view;
	found->heap = heap;
	*home = &found->base;
	return ERR_NONE;
}
