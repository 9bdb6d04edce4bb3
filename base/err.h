/*
 * err.h - a failure as one sentence: operation, resource, reason.
 *
 * The caller owns a `struct err` and passes it last; failing allocates
 * nothing. Whoever knows the reason writes the sentence with err_set();
 * everyone above passes the code on and leaves the sentence alone. A function
 * that returns ERR_NONE leaves `err` as it was.
 */
#ifndef TURDB_BASE_ERR_H
#define TURDB_BASE_ERR_H

enum err_code {
	ERR_NONE = 0,
	ERR_NOMEM,         /* no memory, or the heap's limit is reached        */
	ERR_IO,            /* a system call failed                             */
	ERR_FULL,          /* the disk or a quota is full                      */
	ERR_CORRUPT,       /* bytes from disk that cannot be what was written  */
	ERR_VERSION,       /* a format newer than this library                 */
	ERR_BUSY,          /* a lock was not had in time                       */
	ERR_BUSY_SNAPSHOT, /* a writer's snapshot is older than the newest one */
	ERR_LOCKED,        /* a conflict within the same connection            */
	ERR_READONLY,      /* a write where only reading is possible           */
	ERR_CANTOPEN,      /* a file or directory that cannot be opened        */
	ERR_MISSING,       /* no such file, table or index                     */
	ERR_EXISTS,        /* it exists already                                */
	ERR_INVALID,       /* an argument or statement that makes no sense     */
	ERR_TOOBIG,        /* beyond a stated limit                            */
	ERR_CONSTRAINT,    /* a constraint of the table                        */
	ERR_INTERRUPT,     /* sqlite3_interrupt() or a progress handler        */
	ERR_POISONED,      /* a sync failed earlier: no writes until all close */
	ERR_OUTCOME,       /* a commit whose durability is not known           */
	ERR_ABORT,         /* what the caller worked on is gone                */
	ERR_UNSUPPORTED,   /* a stated limit of this version                   */
};

enum { ERR_TEXT_SIZE = 512 };

struct err {
	int code;                 /* enum err_code                            */
	char text[ERR_TEXT_SIZE]; /* "operation resource: reason", cut to fit */
};

/* Writes the sentence and returns `code`. `resource` may be empty; `err` may
 * be NULL when the caller does not want the sentence:
 *     return err_set(err, code, operation, resource, format, ...);
 * A macro, so that compilers and analysers see which paths are failures. */
#define err_set(err, code, ...)                                               \
	err_known(code, err_write(err, code, __VA_ARGS__))

int err_write(struct err *err, int code, const char *operation,
              const char *resource, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static inline int err_known(int code, int written)
{
	(void)written;
	return code;
}

/* The code's name for logs and tests: "corrupt", "busy". Never NULL. */
const char *err_name(int code);

#endif
