/*
 * err.c - writes failures as sentences into storage the caller owns.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

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

int err_set(struct err *err, int code, const char *operation,
            const char *resource, const char *format, ...)
{
	va_list arguments;
	int used;

	if (!err)
		return code;
	err->code = code;
	used = snprintf(err->text, sizeof err->text, "%s%s%s: ", operation,
	                resource[0] ? " " : "", resource);
	if (used < 0 || (size_t)used >= sizeof err->text)
		return code;
	va_start(arguments, format);
	vsnprintf(err->text + used, sizeof err->text - (size_t)used, format,
	          arguments);
	va_end(arguments);
	return code;
}
