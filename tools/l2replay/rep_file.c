#include "rep_file.h"
#include "rep_grow.h"
#include "rep_line.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define READ_BYTES ((size_t)256 << 10)
#define BUFFER_BYTES_MAX (REP_LINE_BYTES_MAX + READ_BYTES)

struct rep_file {
    const char *path;
    gzFile gz;
    char *buf;
    size_t cap, begin, end; /* unread bytes are buf[begin, end) */
    bool is_at_end;
    uint64_t line;
    uint64_t bytes;
};

enum err_class rep_file_open(const char *path, struct rep_file **ret_file, struct err *err)
{
    struct stat st;

    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_REJECT, "%.150s: %s", path, strerror(errno));
    const int code = fstat(fd, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (code != 0) {
        close(fd);
        return err_set(err, ERR_REJECT, "%.150s: %s", path, strerror(code));
    }
    gzFile const gz = gzdopen(fd, "rb");
    if (gz == NULL) {
        close(fd);
        return err_set(err, ERR_FATAL, "%.150s: out of memory", path);
    }
    gzbuffer(gz, 128 << 10);
    struct rep_file *const f = rep_alloc(1, sizeof *f);
    f->path = path;
    f->gz = gz;
    f->cap = READ_BYTES;
    f->buf = rep_alloc(f->cap, 1);
    f->bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    *ret_file = f;
    return ERR_OK;
}

void rep_file_close(struct rep_file *file)
{
    if (file == NULL)
        return;
    gzclose_r(file->gz);
    free(file->buf);
    free(file);
}

/* Makes room behind the unread bytes and reads into it. */
static enum err_class fill(struct rep_file *f, struct err *err)
{
    int code = Z_OK;

    if (f->begin > 0) {
        memmove(f->buf, f->buf + f->begin, f->end - f->begin);
        f->end -= f->begin;
        f->begin = 0;
    }
    if (f->end > REP_LINE_BYTES_MAX ||
        !rep_grow((void **)&f->buf, &f->cap, f->end + READ_BYTES, BUFFER_BYTES_MAX, 1))
        return err_set(err, ERR_REJECT,
                       "%.120s:%" PRIu64 ": a line of more than %zu MiB: is it a "
                       "recording?",
                       f->path, f->line + 1, REP_LINE_BYTES_MAX >> 20);
    const int n = gzread(f->gz, f->buf + f->end, (unsigned)READ_BYTES);
    const char *const text = gzerror(f->gz, &code);
    if (n > 0) {
        f->end += (size_t)n;
        return ERR_OK;
    }
    if (code == Z_BUF_ERROR)
        return err_set(err, ERR_REJECT,
                       "%.120s:%" PRIu64 ": the gzip is truncated after %" PRIu64
                       " whole lines (byte %" PRIu64 "): get the file again",
                       f->path, f->line + 1, f->line, rep_file_bytes_read(f));
    if (n < 0 || code != Z_OK)
        return err_set(err, ERR_REJECT,
                       "%.120s:%" PRIu64 ": damaged after %" PRIu64 " whole lines (byte %" PRIu64
                       "): %.60s",
                       f->path, f->line + 1, f->line, rep_file_bytes_read(f),
                       code == Z_ERRNO ? strerror(errno) : text);
    f->is_at_end = true;
    return ERR_OK;
}

enum err_class rep_file_next(struct rep_file *f, const char **ret_line, size_t *ret_n,
                             bool *ret_got, struct err *err)
{
    size_t searched = 0;

    for (;;) {
        char *const from = f->buf + f->begin;
        const size_t have = f->end - f->begin;
        char *const newline =
            have > searched ? memchr(from + searched, '\n', have - searched) : NULL;
        if (newline == NULL && !f->is_at_end) {
            searched = have;
            const enum err_class e = fill(f, err);
            if (e != ERR_OK)
                return e;
            continue;
        }
        *ret_got = newline != NULL || have > 0;
        if (*ret_got) {
            size_t n = newline != NULL ? (size_t)(newline - from) : have;
            f->begin += n + (newline != NULL);
            f->line++;
            if (n > 0 && from[n - 1] == '\r')
                n--;
            *ret_line = from;
            *ret_n = n;
        }
        return ERR_OK;
    }
}

uint64_t rep_file_line(const struct rep_file *file)
{
    return file->line;
}

uint64_t rep_file_bytes_read(const struct rep_file *file)
{
    const z_off_t at = gzoffset(file->gz);

    return at > 0 ? (uint64_t)at : 0;
}

uint64_t rep_file_bytes(const struct rep_file *file)
{
    return file->bytes;
}
