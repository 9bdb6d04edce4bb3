/*
 * harness.h - the small frame every C test runs in.
 *
 * A program is a table of cases; a case is a sentence about behaviour. A case
 * fails at its first unmet expectation and returns. Each case prints one line:
 * "ok NAME", "FAIL NAME: why" or "skip NAME: why"; the last line of a program
 * is "total: P passed, F failed, S skipped". Arguments pick cases by name.
 */
#ifndef TURDB_TEST_HARNESS_H
#define TURDB_TEST_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct test {
	const char *name;
	bool failed, skipped;
	char why[1024];
	struct err err;   /* for the calls under test            */
	uint64_t seed;    /* TEST_SEED, or fixed; printed on failure */
};

struct test_case {
	const char *name;
	void (*run)(struct test *t);
};

#define CASE(function) { #function, function }
#define TEST_MAIN(cases)                                                      \
	int main(int argc, char **argv)                                       \
	{                                                                     \
		return test_main(argc, argv, cases,                           \
		                 sizeof(cases) / sizeof(cases[0]));           \
	}

/* Heads a case that is given something, opened before it and, when it did not
 * fail, closed after it. `open` and `close` are expressions over `t` and `it`. */
#define TEST_WITH(name, type, it, open, close)                                \
	static void name##_with(struct test *t, type *it);                    \
	static void name(struct test *t)                                      \
	{                                                                     \
		type storage_, *it = &storage_;                               \
		if (!(open))                                                  \
			test_fail(t, __FILE__, __LINE__, "%s", t->err.text);  \
		if (!t->failed)                                               \
			name##_with(t, it);                                   \
		if (!t->failed)                                               \
			close;                                                \
	}                                                                     \
	static void name##_with(struct test *t, type *it)

int test_main(int argc, char **argv, const struct test_case *cases,
              size_t count);

void test_fail(struct test *t, const char *file, int line, const char *format,
               ...) __attribute__((format(printf, 4, 5)));
void test_skip(struct test *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Sizes follow TEST_SCALE (default 1): at least `least`. */
uint64_t test_scaled(uint64_t count, uint64_t least);

/* A pseudo-random number from *state (splitmix64). */
uint64_t test_random(uint64_t *state);

/* A fresh directory under $TMPDIR or /tmp, removed at exit. Static storage per
 * call is the caller's: `path` holds at least 256 bytes. */
void test_directory(struct test *t, char path[256]);

/* The extension of this program's build, or what TURDB_SO names. */
enum { TEST_PATH_SIZE = 1024 };
const char *test_extension(char path[TEST_PATH_SIZE]);

#define EXPECT(t, condition)                                                  \
	do {                                                                  \
		if (!(condition)) {                                           \
			test_fail(t, __FILE__, __LINE__, "%s", #condition);   \
			return;                                               \
		}                                                             \
	} while (0)

/* The call succeeds; otherwise its sentence is the failure. */
#define EXPECT_OK(t, call)                                                    \
	do {                                                                  \
		int expect_rc_ = (call);                                      \
		if (expect_rc_) {                                             \
			test_fail(t, __FILE__, __LINE__, "%s: %s: %s", #call, \
			          err_name(expect_rc_), (t)->err.text);       \
			return;                                               \
		}                                                             \
	} while (0)

/* The call fails with this code and its sentence holds these words. */
#define EXPECT_ERR(t, call, expected_code, words)                             \
	do {                                                                  \
		int expect_rc_ = (call);                                      \
		if (expect_rc_ != (expected_code) ||                          \
		    !strstr((t)->err.text, words)) {                          \
			test_fail(t, __FILE__, __LINE__,                      \
			          "%s: wanted %s with '%s', got %s: %s",      \
			          #call, err_name(expected_code), words,      \
			          err_name(expect_rc_), (t)->err.text);       \
			return;                                               \
		}                                                             \
	} while (0)

#define EXPECT_EQ(t, left, right)                                             \
	do {                                                                  \
		long long expect_l_ = (long long)(left);                      \
		long long expect_r_ = (long long)(right);                     \
		if (expect_l_ != expect_r_) {                                 \
			test_fail(t, __FILE__, __LINE__,                      \
			          "%s is %lld, %s is %lld", #left, expect_l_, \
			          #right, expect_r_);                         \
			return;                                               \
		}                                                             \
	} while (0)

#define EXPECT_STR(t, left, right)                                            \
	do {                                                                  \
		const char *expect_l_ = (left), *expect_r_ = (right);         \
		if (!expect_l_ || strcmp(expect_l_, expect_r_) != 0) {        \
			test_fail(t, __FILE__, __LINE__,                      \
			          "%s is '%s', wanted '%s'", #left,           \
			          expect_l_ ? expect_l_ : "(null)",           \
			          expect_r_);                                 \
			return;                                               \
		}                                                             \
	} while (0)

#endif
