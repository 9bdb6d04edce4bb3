/*
 * key_format.h - how SQL values lie in a key.
 *
 * A key is its columns one behind the other; a non-unique index adds the row's
 * id, 8 bytes big-endian with the sign bit flipped. A column is a type byte and
 * what the type says; a descending column is the complement of all its bytes.
 * No column is a prefix of another, so memcmp of whole keys compares column by
 * column.
 *
 *   NULL              nothing more
 *   zero              nothing more; 0, 0.0 and -0.0 alike
 *   other numbers     s * 1.mmm... * 2^e, integers and reals alike: the exponent
 *                     and the first bits of m, then m in groups of 7 bits, each
 *                     with a lowest bit that says whether another follows; no
 *                     trailing zero groups. Negative: these bytes complemented
 *     below 1         e + 1074 in 11 bits, 4 bits of m, more: 2 bytes
 *     1 to below 2^64 e in 6 bits, 1 bit of m, more: 1 byte
 *     from 2^64       e - 64 in 10 bits, 5 bits of m, more: 2 bytes
 *   text, blob        the bytes, 00 as 01 01 and 01 as 01 02, then 00
 *
 * Text of NOCASE has A-Z as a-z and, because SQLite stops comparing at a NUL
 * and then compares lengths, ends at its first NUL with 01 00 and its whole
 * length in 4 bytes big-endian. Text of RTRIM has no spaces at its end.
 *
 * Text or a blob that would take more than its share of a key (KEY_SHARE of
 * what BTREE_KEY_SIZE_MAX leaves) ends after that many bytes, or one less where
 * an escape would be cut, with 01 04 and a 16-byte hash of the whole. Such keys
 * are in true order with all others except those that agree up to the 01 04.
 * An index on UNIQUE columns adds the row's id to such a key too: the hash
 * alone does not prove that values are equal.
 *
 * A key is valid when each column begins with one of these type bytes and ends as the
 * type says. There is no version: it is the tree's (btree_format.h). Type bytes that
 * no code of this version writes are reserved as listed.
 */
#ifndef TURDB_BTREE_KEY_FORMAT_H
#define TURDB_BTREE_KEY_FORMAT_H

enum {
	KEY_NULL = 0x01,
	KEY_FALSE = 0x02, /* reserved */
	KEY_TRUE = 0x03,  /* reserved */

	KEY_MINUS_INFINITY = 0x10,
	KEY_MINUS_HUGE = 0x11,     /* up to -2^64       */
	KEY_MINUS = 0x12,          /* above that to -1  */
	KEY_MINUS_FRACTION = 0x13, /* between -1 and 0  */
	KEY_ZERO = 0x14,
	KEY_PLUS_FRACTION = 0x15,
	KEY_PLUS = 0x16,
	KEY_PLUS_HUGE = 0x17,
	KEY_PLUS_INFINITY = 0x18,
	KEY_NAN = 0x19,

	KEY_TEXT = 0x20,
	KEY_BLOB = 0x21,

	/* Reserved. */
	KEY_DATE = 0x30, KEY_TIME = 0x31, KEY_TIMESTAMP = 0x32,
	KEY_TIMESTAMPTZ = 0x33, KEY_INTERVAL = 0x34,
	KEY_UUID = 0x40, KEY_INET = 0x41, KEY_MACADDR = 0x42,
	KEY_JSON_NULL = 0x50, KEY_JSON_FALSE = 0x51, KEY_JSON_TRUE = 0x52,
	KEY_JSON_NUMBER = 0x53, KEY_JSON_STRING = 0x54, KEY_JSON_ARRAY = 0x55,
	KEY_JSON_OBJECT = 0x56,
	KEY_ARRAY = 0x60, KEY_TUPLE = 0x61, KEY_RANGE = 0x62, KEY_ENUM = 0x63,
	KEY_COMPOSITE = 0x64, KEY_DOMAIN = 0x65,
	KEY_VECTOR = 0x70,
	KEY_CUSTOM_FIRST = 0x80, KEY_CUSTOM_LAST = 0xFE,
	KEY_ABOVE_ALL = 0xFF, /* no column begins with it */
};

enum {
	KEY_FRACTION_EXPONENT_BITS = 11,
	KEY_FRACTION_EXPONENT_BIAS = 1074,
	KEY_PLUS_EXPONENT_BITS = 6,
	KEY_PLUS_EXPONENT_BIAS = 0,
	KEY_HUGE_EXPONENT_BITS = 10,
	KEY_HUGE_EXPONENT_BIAS = -64,
	KEY_GROUP_BITS = 7,
	KEY_NUMBER_SIZE_MAX = 11, /* with the type byte */
};

enum {
	KEY_TEXT_END = 0x00,
	KEY_ESCAPE = 0x01,
	KEY_ESCAPED_LENGTH = 0x00, /* NOCASE: a NUL; u32 whole length, the end */
	KEY_ESCAPED_00 = 0x01,
	KEY_ESCAPED_01 = 0x02,
	KEY_ESCAPED_CUT = 0x04,    /* KEY_HASH_SIZE bytes, the end             */
	KEY_HASH_SIZE = 16,
	KEY_CUT_SIZE = 2 + KEY_HASH_SIZE,
	KEY_LENGTH_SIZE = 4,
	KEY_ROWID_SIZE = 8,
	KEY_SHARE_DIVISOR = 2,     /* a column takes half of what is left,     */
	KEY_SHARE_LEAST = 64,      /* or what is left once half is less        */
};

#endif
