/*
 * version.h - the one place that knows what this library calls itself.
 */
#ifndef TURDB_BASE_VERSION_H
#define TURDB_BASE_VERSION_H

#define TURDB_VERSION "0.1.0"

#endif
