/*
 * row_format.h - how a row's columns lie in a value. Little-endian.
 *
 *   | head | count? | kinds | ends | bytes of column 0, 1, ... |
 *
 * head   u8: bits 0-1 the width of an end (ROW_WIDTH_*), bits 2-7 the number of
 *        columns, or ROW_COUNT_FOLLOWS and a u16 behind it
 * kinds  4 bits a column, the even one in the low half; a last odd half is 0
 * ends   where each column's bytes end, counted from the first column's start
 *
 * An integer has its 0 to 8 lowest bytes, sign-extended (0 bytes: zero); a real
 * 8; text its bytes and a NUL; a blob its bytes; a vector the u32 id of its
 * node; NULL none.
 *
 * Valid when ends do not fall, the last one is the row's end, and every column
 * has a size that its kind admits. There is no version: it is the tree's
 * (btree_format.h), and kinds not listed here are for later ones.
 */
#ifndef TURDB_BTREE_ROW_FORMAT_H
#define TURDB_BTREE_ROW_FORMAT_H

enum {
	ROW_WIDTH_MASK = 3,
	ROW_WIDTH_1 = 0, /* ends are u8  */
	ROW_WIDTH_2 = 1, /* ends are u16 */
	ROW_WIDTH_4 = 2, /* ends are u32 */
	ROW_COUNT_SHIFT = 2,
	ROW_COUNT_FOLLOWS = 63,
	ROW_HEAD_SIZE = 1,
	ROW_COUNT_SIZE = 2,
	ROW_COLUMNS_MAX = 65535,

	ROW_NULL = 0,
	ROW_INTEGER = 1,
	ROW_REAL = 2,
	ROW_TEXT = 3,
	ROW_BLOB = 4,
	ROW_VECTOR = 5,

	ROW_REAL_SIZE = 8,
	ROW_INTEGER_SIZE_MAX = 8,
	ROW_VECTOR_SIZE = 4,
};

#endif
