#include "metrics/metrics_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STAT_BYTES_MAX 4096
#define DIRENTS_BYTES 4096
#define FDS_MAX (1 << 20) /* a listing longer than this is not counted to its end */

/* /proc/self/stat's fields (proc(5)), counted from the state, which is field 3. */
#define STAT_UTIME (14 - 3)
#define STAT_STIME (15 - 3)
#define STAT_THREADS (20 - 3)
#define STAT_START (22 - 3)
#define STAT_VSIZE (23 - 3)
#define STAT_RSS (24 - 3)
#define STAT_FIELDS (STAT_RSS + 1)

static bool read_text(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd < 0)
        return false;
    while (n < size - 1) {
        const ssize_t got = read(fd, text + n, size - 1 - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    (void)close(fd);
    text[n] = '\0';
    return n > 0;
}

/* The numbers behind "pid (name) "; the name may hold spaces and brackets, so the last ')' counts.
 */
static bool read_stat(unsigned long long ret_fields[STAT_FIELDS])
{
    char text[STAT_BYTES_MAX];

    if (!read_text("/proc/self/stat", text, sizeof text))
        return false;
    const char *at = strrchr(text, ')');

    if (at == NULL || at[1] != ' ')
        return false;
    at += 2;
    for (unsigned i = 0; i < STAT_FIELDS; i++) {
        ret_fields[i] = strtoull(at, NULL, 10); /* the state letter reads as 0 */
        at = strchr(at, ' ');
        if (at == NULL)
            return false;
        at++;
    }
    return true;
}

/* Unix time of the boot: the line "btime N" of /proc/stat, which may stand behind a long "intr". */
static bool read_boot_time(double *ret_seconds)
{
    char text[STAT_BYTES_MAX];
    const int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    size_t kept = 0;
    ssize_t got;
    bool found = false;

    if (fd < 0)
        return false;
    while (!found && (got = read(fd, text + kept, sizeof text - 1 - kept)) > 0) {
        const size_t n = kept + (size_t)got;
        const size_t tail = n < 64 ? n : 64; /* the line may straddle two reads */

        text[n] = '\0';
        const char *line = strstr(text, "\nbtime ");

        if (line != NULL && strchr(line + 1, '\n') != NULL) {
            *ret_seconds = (double)strtoull(line + sizeof "\nbtime", NULL, 10);
            found = true;
        }
        memmove(text, text + n - tail, tail);
        kept = tail;
    }
    (void)close(fd);
    return found;
}

/* Open file descriptors, without the one that lists them; −1 when they cannot be listed. */
static long count_fds(void)
{
    _Alignas(struct dirent64) char entries[DIRENTS_BYTES];
    const int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long n = 0;
    ssize_t got;

    if (fd < 0)
        return -1;
    while (n < FDS_MAX && (got = getdents64(fd, entries, sizeof entries)) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);

            n += entry->d_name[0] != '.';
            at += entry->d_reclen;
        }
    }
    (void)close(fd);
    return n - 1;
}

static void write_one(const char *name, const char *type, const char *help, double value, FILE *out)
{
    metrics_write_head(name, type, help, out);
    fprintf(out, "%s ", name);
    metrics_write_number(value, out);
    fputc('\n', out);
}

static void write_stat(FILE *out)
{
    unsigned long long stat[STAT_FIELDS];
    const double tick = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    double boot;

    if (!read_stat(stat))
        return;
    write_one("process_cpu_seconds_total", "counter", "User and system CPU time.",
              (double)(stat[STAT_UTIME] + stat[STAT_STIME]) / tick, out);
    write_one("process_resident_memory_bytes", "gauge", "Resident memory.",
              (double)stat[STAT_RSS] * page, out);
    write_one("process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)stat[STAT_VSIZE],
              out);
    write_one("process_threads", "gauge", "Threads.", (double)stat[STAT_THREADS], out);
    if (read_boot_time(&boot))
        write_one("process_start_time_seconds", "gauge", "Start, Unix time.",
                  boot + (double)stat[STAT_START] / tick, out);
}

void metrics_write_process(FILE *out)
{
    const long fds = count_fds();
    struct rlimit limit;

    write_stat(out);
    if (fds >= 0)
        write_one("process_open_fds", "gauge", "Open file descriptors.", (double)fds, out);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_one("process_max_fds", "gauge", "Limit of open file descriptors.",
                  limit.rlim_cur == RLIM_INFINITY ? HUGE_VAL : (double)limit.rlim_cur, out);
}
