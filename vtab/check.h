/*
 * check.h - what the files of the check share; private to vtab/.
 */
#ifndef TURDB_VTAB_CHECK_H
#define TURDB_VTAB_CHECK_H

#include "vtab/table.h"

struct check_file {
	struct pager *pager;
	bool graph;
	const struct store_file_info *info; /* NULL: a home that counts no pages */
	const struct hnsw_kernels *kernels;
	struct breath *breath;
};

/* Calls `problem` for each thing wrong; damage is no error. */
int check_file(const struct check_file *file, struct heap *heap,
               void (*problem)(void *context, const char *sentence),
               void *context, struct err *err);

/* check_rows.c: as check_file, for what the rows of a table and its indexes say of
 * each other. The trees and graphs are sound; the home is being read. */
int check_agreement(struct table *table,
                    void (*problem)(void *context, const char *sentence),
                    void *context, struct err *err);

#endif
