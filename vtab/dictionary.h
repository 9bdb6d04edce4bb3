/*
 * dictionary.h - the methods for tables of a home that has one dictionary for all of
 * them; private to vtab/. What they do is in home.h.
 */
#ifndef TURDB_VTAB_DICTIONARY_H
#define TURDB_VTAB_DICTIONARY_H

#include "vtab/home.h"

int dictionary_table_make(struct home *home, const char *table,
                          uint64_t *table_id, struct err *err);
int dictionary_find(struct home *home, const char *table, struct arena *arena,
                    struct dictionary_entry *entry, struct err *err);
int dictionary_put(struct home *home, const char *table,
                   const struct dictionary_entry *entry, struct arena *arena,
                   struct err *err);
int dictionary_rename(struct home *home, const char *from, const char *to,
                      struct arena *arena, struct err *err);
int dictionary_table_remove(struct home *home, const char *table,
                            const struct dictionary_entry *entry,
                            struct arena *arena, struct err *err);
int dictionary_layout_put(struct home *home, const char *table,
                          uint64_t table_id, struct span layout,
                          struct err *err);
int dictionary_layout_find(struct home *home, const char *table,
                           uint64_t table_id, struct btree_scratch *scratch,
                           struct span *layout, bool *found, struct err *err);

#endif
