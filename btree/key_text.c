/*
 * key_text.c - escapes and ends text, folds it, cuts what is too long.
 *
 * Text seldom holds 00 or 01, so runs without them are found eight bytes at a
 * time and copied whole.
 */
#include "btree/key_text.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"

enum { HASH_CHUNK_SIZE = 512 };

struct key_text key_text_of(struct span bytes, enum collation collation)
{
	struct key_text text = { .bytes = bytes };
	const uint8_t *nul;

	switch (collation) {
	case COLLATION_BINARY:
		break;
	case COLLATION_RTRIM:
		while (text.bytes.size &&
		       bytes.data[text.bytes.size - 1] == ' ')
			text.bytes.size--;
		break;
	case COLLATION_NOCASE:
		text.fold = true;
		nul = bytes.size ? memchr(bytes.data, 0, bytes.size) : NULL;
		if (!nul)
			break;
		text.length_follows = true;
		text.length = (uint32_t)bytes.size;
		text.bytes.size = (size_t)(nul - bytes.data);
		break;
	}
	return text;
}

static uint8_t folded(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* How many of the first bytes need no escape. */
static size_t plain_size(const uint8_t *bytes, size_t size)
{
	const uint64_t twos = UINT64_C(0x0202020202020202);
	const uint64_t tops = UINT64_C(0x8080808080808080);
	size_t i = 0;

	while (size - i >= 8) {
		uint64_t word = load_le64(bytes + i);

		if ((word - twos) & ~word & tops)
			break;
		i += 8;
	}
	while (i < size && bytes[i] > KEY_ESCAPE)
		i++;
	return i;
}

static void copy(uint8_t *to, const uint8_t *from, size_t size, bool fold)
{
	if (!fold) {
		memcpy(to, from, size);
		return;
	}
	for (size_t i = 0; i < size; i++)
		to[i] = folded(from[i]);
}

/* Escapes as much as fits `size_max` bytes; *taken says how much that was. */
static size_t body_encode(const struct key_text *text, size_t size_max,
                          uint8_t *out, size_t *taken)
{
	const uint8_t *bytes = text->bytes.data;
	size_t size = text->bytes.size, used = 0, i = 0;

	while (i < size && used < size_max) {
		size_t most = size - i < size_max - used ? size - i
		                                         : size_max - used;
		size_t run = plain_size(bytes + i, most);

		copy(out + used, bytes + i, run, text->fold);
		used += run;
		i += run;
		if (run == most)
			continue;
		if (size_max - used < 2)
			break;
		out[used++] = KEY_ESCAPE;
		out[used++] = bytes[i++] ? KEY_ESCAPED_01 : KEY_ESCAPED_00;
	}
	*taken = i;
	return used;
}

/* Two chained hashes over the bytes as they are compared. */
static void hash_write(const struct key_text *text, uint8_t *out)
{
	uint8_t chunk[HASH_CHUNK_SIZE];
	uint64_t a = text->bytes.size, b = ~a;
	size_t size = text->bytes.size;

	if (text->length_follows)
		a += (uint64_t)text->length << 32;
	for (size_t i = 0, part; i < size; i += part) {
		part = size - i < sizeof chunk ? size - i : sizeof chunk;
		copy(chunk, text->bytes.data + i, part, text->fold);
		a = checksum64(chunk, part, a);
		b = checksum64(chunk, part, b);
	}
	store_be64(out, a);
	store_be64(out + 8, b);
}

static size_t end_encode(const struct key_text *text, uint8_t *out)
{
	if (!text->length_follows) {
		out[0] = KEY_TEXT_END;
		return 1;
	}
	out[0] = KEY_ESCAPE;
	out[1] = KEY_ESCAPED_LENGTH;
	store_be32(out + 2, text->length);
	return 2 + KEY_LENGTH_SIZE;
}

size_t key_text_encode(const struct key_text *text, size_t size_max,
                       uint8_t *bytes, bool *cut, size_t *cut_at)
{
	size_t taken, used = body_encode(text, size_max, bytes, &taken);
	size_t end_size = text->length_follows ? 2 + KEY_LENGTH_SIZE : 1;

	*cut = taken < text->bytes.size || size_max - used < end_size;
	if (!*cut)
		return used + end_encode(text, bytes + used);
	*cut_at = used;
	bytes[used++] = KEY_ESCAPE;
	bytes[used++] = KEY_ESCAPED_CUT;
	hash_write(text, bytes + used);
	return used + KEY_HASH_SIZE;
}

size_t key_text_size(struct span key, uint8_t mask)
{
	size_t cut_at;

	return key_text_cut(key, mask, &cut_at);
}

size_t key_text_cut(struct span key, uint8_t mask, size_t *cut_at)
{
	size_t at = 0, size;

	*cut_at = 0;

	while (at < key.size) {
		uint8_t byte = key.data[at] ^ mask;

		if (byte == KEY_TEXT_END)
			return at + 1;
		if (byte != KEY_ESCAPE) {
			at++;
			continue;
		}
		if (key.size - at < 2)
			return 0;
		switch (key.data[at + 1] ^ mask) {
		case KEY_ESCAPED_00:
		case KEY_ESCAPED_01:
			at += 2;
			break;
		case KEY_ESCAPED_LENGTH:
			size = at + 2 + KEY_LENGTH_SIZE;
			return size <= key.size ? size : 0;
		case KEY_ESCAPED_CUT:
			*cut_at = at;
			size = at + KEY_CUT_SIZE;
			return size <= key.size ? size : 0;
		default:
			return 0;
		}
	}
	return 0;
}

struct span key_text_decode(const uint8_t *key, size_t size, uint8_t mask,
                            uint8_t *scratch, bool *whole)
{
	size_t used = 0;

	*whole = true;
	for (size_t at = 0; at < size; at++) {
		uint8_t byte = key[at] ^ mask;

		if (byte == KEY_TEXT_END)
			break;
		if (byte == KEY_ESCAPE) {
			byte = key[++at] ^ mask;
			if (byte == KEY_ESCAPED_LENGTH ||
			    byte == KEY_ESCAPED_CUT) {
				*whole = false;
				break;
			}
			byte = byte == KEY_ESCAPED_01;
		}
		scratch[used++] = byte;
	}
	scratch[used] = 0;
	return span_of(scratch, used);
}
