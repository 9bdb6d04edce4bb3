/*
 * real_store.h - a store on the real disk with one view, for tests of processes.
 */
#ifndef TURDB_TEST_SUPPORT_REAL_STORE_H
#define TURDB_TEST_SUPPORT_REAL_STORE_H

#include "base/heap.h"
#include "base/os.h"
#include "vfs/store.h"

struct opened {
	struct heap heap;
	struct os *os;
	struct store_environment *environment;
	struct store *store;
	struct store_view *view;
};

/* A process of its own as far as TurDB can tell; `path` is the directory. */
int real_store_open(struct opened *opened, const char *path,
                    const struct store_options *options, struct err *err);
int real_store_close(struct opened *opened, struct err *err);

#endif
