/*
 * err.c - writes failures as sentences into storage the caller owns.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
	[ERR_NONE] = "none",
	[ERR_NOMEM] = "no memory",
	[ERR_IO] = "io",
	[ERR_FULL] = "full",
	[ERR_CORRUPT] = "corrupt",
	[ERR_VERSION] = "version",
	[ERR_BUSY] = "busy",
	[ERR_BUSY_SNAPSHOT] = "busy snapshot",
	[ERR_LOCKED] = "locked",
	[ERR_READONLY] = "read-only",
	[ERR_CANTOPEN] = "cannot open",
	[ERR_MISSING] = "missing",
	[ERR_EXISTS] = "exists",
	[ERR_INVALID] = "invalid",
	[ERR_TOOBIG] = "too big",
	[ERR_CONSTRAINT] = "constraint",
	[ERR_INTERRUPT] = "interrupt",
	[ERR_POISONED] = "poisoned",
	[ERR_OUTCOME] = "outcome unknown",
	[ERR_ABORT] = "abort",
	[ERR_UNSUPPORTED] = "unsupported",
};

const char *err_name(int code)
{
	if (code < 0 || (size_t)code >= sizeof names / sizeof names[0])
		return "unknown";
	return names[code];
}

enum { RESOURCE_SIZE_MAX = 280 };

static bool is_inside_character(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* "operation resource: "; of a long resource its beginning and end, so that there is
 * room for the reason. Returns how much was written. */
static size_t write_head(char text[ERR_TEXT_SIZE], const char *operation,
                         const char *resource)
{
	size_t size = strlen(resource);
	const char *end = resource + size;
	int used, begin_size = 0;

	if (size > RESOURCE_SIZE_MAX) {
		begin_size = RESOURCE_SIZE_MAX / 2;
		while (begin_size && is_inside_character(resource[begin_size]))
			begin_size--;
		end -= RESOURCE_SIZE_MAX / 2;
		while (is_inside_character(*end))
			end++;
	}
	used = snprintf(text, ERR_TEXT_SIZE, "%s%s%.*s%s%s: ", operation,
	                size ? " " : "", begin_size, resource,
	                begin_size ? "..." : "", begin_size ? end : resource);
	return used < 0 ? ERR_TEXT_SIZE : (size_t)used;
}

/* A text that was cut may end in a part of a character. */
static void trim_end(char text[ERR_TEXT_SIZE])
{
	size_t size = strlen(text);

	if (size + 1 < ERR_TEXT_SIZE)
		return;
	while (size && is_inside_character(text[size - 1]))
		size--;
	if (size && (unsigned char)text[size - 1] >= 0xc0)
		size--;
	text[size] = 0;
}

int err_write(struct err *err, int code, const char *operation,
              const char *resource, const char *format, ...)
{
	va_list arguments;
	size_t used;

	if (!err)
		return code;
	err->code = code;
	used = write_head(err->text, operation, resource);
	if (used >= sizeof err->text) {
		trim_end(err->text);
		return code;
	}
	va_start(arguments, format);
	vsnprintf(err->text + used, sizeof err->text - used, format,
	          arguments);
	va_end(arguments);
	trim_end(err->text);
	return code;
}
