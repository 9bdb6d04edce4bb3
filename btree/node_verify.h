/*
 * node_verify.h - everything that must hold within one page. Private to btree/.
 */
#ifndef TURDB_BTREE_NODE_VERIFY_H
#define TURDB_BTREE_NODE_VERIFY_H

#include "btree/node.h"

/* NULL, or what is wrong: a sentence without a subject. Checks what lies behind
 * every ref, that cells and holes do not overlap and fill the cell area with
 * the dead bytes, and that keys ascend. */
const char *node_verify(const struct node *node);

#endif
