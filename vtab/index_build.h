/*
 * index_build.h - the file of an index, made and filled; private to vtab/.
 */
#ifndef TURDB_VTAB_INDEX_BUILD_H
#define TURDB_VTAB_INDEX_BUILD_H

#include "vtab/table.h"

/* index_build.c. All are to be rolled back when they fail. */

/* Fills an empty index from the rows of its table; a graph from another one when
 * `from` is not NULL, whose vectors the rows refer to. Ends operations. ERR_CONSTRAINT
 * when it is unique and rows are not. */
int index_fill(struct table *table, struct table_index *index,
               struct hnsw *from, struct err *err);

/* Puts the vectors of a graph back into the rows. */
int index_vectors_into_rows(struct table *table, struct table_index *index,
                            struct err *err);

/* table.c: an empty file for an index. */
int index_create_file(struct table *table,
                      const struct index_definition *definition,
                      uint32_t *file_id, struct err *err);
/* Opens it. `index` has its definition and columns. */
int index_attach(struct table *table, struct table_index *index,
                 uint32_t file_id, struct err *err);

#endif
