/* rep_file.h: the lines of a text file, gzip or plain, with a bound on their length. */
#ifndef REP_FILE_H
#define REP_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rep_file;

/* `path` is borrowed. REJECT: it cannot be opened; the text says why. */
enum err_class rep_file_open(const char *path, struct rep_file **ret_file,
                             struct err *err) MUST_CHECK;
void rep_file_close(struct rep_file *file); /* NULL-safe */

/*
 * The next line, without its end; valid until the next call, not terminated. At the end OK with
 * *ret_got false. REJECT: a truncated or damaged gzip, a line over the bound; the text has the file
 * and the last good line.
 */
enum err_class rep_file_next(struct rep_file *file, const char **ret_line, size_t *ret_n,
                             bool *ret_got, struct err *err) MUST_CHECK;

uint64_t
rep_file_line(const struct rep_file *file); /* number of the line handed out last, from 1 */
uint64_t rep_file_bytes_read(const struct rep_file *file); /* as on disk: for a progress bar */
uint64_t rep_file_bytes(const struct rep_file *file); /* as on disk; 0 when unknown (a pipe) */

#endif
