/*
 * dictionary_format.h - which turdb tables a directory has.
 *
 * The dictionary is a B+tree (file STORE_DICTIONARY_FILE_ID, keys of bytes). Key:
 * 'T', then the table's name with ASCII letters in lower case. Value, little-endian:
 *
 *   OFFSET SIZE
 *   0      1     DICTIONARY_VERSION
 *   1      1     zero
 *   2      2     number of indexes
 *   4      4     file id of the table
 *   8      8     table id: never used again, kept by ALTER TABLE RENAME
 *   16     8     AUTOINCREMENT: the largest rowid ever given out
 *   24     4 each file id of each index, in the order of the statement
 *
 * Valid when the size is that of so many indexes; a version above DICTIONARY_VERSION is
 * refused, 0 is damage. Key 'N' alone holds the next table id (8 bytes).
 *
 * Key 'C' and a table id (8 bytes, big-endian): the columns that the table's rows were
 * stored with. Value: one byte LAYOUT_VERSION, then a text (layout.c), which is compared
 * byte for byte. A version above that is refused, 0 is damage. A table without such a
 * key was made by a library that did not write it, and is not compared.
 */
#ifndef TURDB_VTAB_DICTIONARY_FORMAT_H
#define TURDB_VTAB_DICTIONARY_FORMAT_H

enum {
	DICTIONARY_VERSION = 1,
	DICTIONARY_VERSION_AT = 0,
	DICTIONARY_INDEXES_AT = 2,
	DICTIONARY_TABLE_FILE_AT = 4,
	DICTIONARY_TABLE_ID_AT = 8,
	DICTIONARY_SEQUENCE_AT = 16,
	DICTIONARY_INDEX_FILES_AT = 24,

	LAYOUT_VERSION = 1,
	LAYOUT_VERSION_AT = 0,
	LAYOUT_TEXT_AT = 1,
};

#endif
