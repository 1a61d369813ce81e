#include "clk/clk.h"

#include <assert.h>
#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPEED_UNIT INT64_C(1000000) /* speed 1 is this many millionths */
#define SPEC_BYTES_MAX 128
#define FRACTION_DIGITS 6
#define DAY_S INT64_C(86400)
#define SECONDS_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

enum clk_kind { CLK_WALL, CLK_REHEARSAL, CLK_TEST };

struct clk {
    enum clk_kind kind;
    int64_t real_start_us;
    int64_t virtual_start_us;
    int64_t speed_millionths;
    _Atomic int64_t test_us;
};

static int64_t read_clock_us(clockid_t id)
{
    struct timespec t;
    const int rc = clock_gettime(id, &t);

    assert(rc == 0); /* both ids exist on every Linux */
    return (int64_t)t.tv_sec * CLK_US_PER_S + t.tv_nsec / 1000;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level
 * date algorithms"). */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    const int64_t era = year / 400; /* year ≥ 0 here */
    const int64_t year_of_era = year - era * 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* Takes `digits` decimal digits at *s; false, and *s unmoved, when there are fewer. */
static bool take_digits(const char **s, int digits, int64_t *ret_value)
{
    int64_t value = 0;

    for (int i = 0; i < digits; i++) {
        if ((*s)[i] < '0' || (*s)[i] > '9')
            return false;
        value = value * 10 + ((*s)[i] - '0');
    }
    *s += digits;
    *ret_value = value;
    return true;
}

/* ".25" → 250000 millionths; no '.' → 0. False for an empty fraction or more than six digits. */
static bool take_fraction(const char **s, int64_t *ret_millionths)
{
    int64_t value = 0;
    int digits = 0;

    if (**s == '.') {
        (*s)++;
        for (; **s >= '0' && **s <= '9'; (*s)++, digits++) {
            if (digits == FRACTION_DIGITS)
                return false;
            value = value * 10 + (**s - '0');
        }
        if (digits == 0)
            return false;
    }
    for (; digits < FRACTION_DIGITS; digits++)
        value *= 10;
    *ret_millionths = value;
    return true;
}

/* "12.5" → 12500000 millionths, at most `max` whole units. */
static bool parse_decimal(const char *s, int64_t max, int64_t *ret_millionths)
{
    int64_t whole = 0, fraction;

    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        whole = whole * 10 + (*s - '0');
        if (whole > max)
            return false;
    }
    if (!take_fraction(&s, &fraction) || *s != '\0')
        return false;
    *ret_millionths = whole * INT64_C(1000000) + fraction;
    return true;
}

/* In either case, as RFC 3339 allows. */
static bool take_letter(const char **s, char letter)
{
    if (toupper((unsigned char)**s) != letter)
        return false;
    (*s)++;
    return true;
}

static bool parse_rfc3339(const char *s, int64_t *ret_us)
{
    int64_t year, month, day, hour, minute, second, fraction;

    if (!take_digits(&s, 4, &year) || !take_letter(&s, '-') || !take_digits(&s, 2, &month) ||
        !take_letter(&s, '-') || !take_digits(&s, 2, &day) || !take_letter(&s, 'T'))
        return false;
    if (!take_digits(&s, 2, &hour) || !take_letter(&s, ':') || !take_digits(&s, 2, &minute) ||
        !take_letter(&s, ':') || !take_digits(&s, 2, &second) || !take_fraction(&s, &fraction))
        return false;
    if (!take_letter(&s, 'Z') || *s != '\0')
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    const int64_t seconds =
        days_from_civil(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;

    *ret_us = seconds * CLK_US_PER_S + fraction;
    return true;
}

static bool parse_time(const char *s, int64_t *ret_us)
{
    return parse_decimal(s, SECONDS_MAX, ret_us) || parse_rfc3339(s, ret_us);
}

static enum err_class parse_spec(const char *spec, struct clk *clk, struct err *err)
{
    char copy[SPEC_BYTES_MAX];

    if (strlen(spec) >= sizeof copy)
        return err_set(
            err, ERR_REJECT,
            "L2_CLOCK: longer than %d characters: give <real start>/<virtual start>/<speed>",
            SPEC_BYTES_MAX - 1);
    (void)snprintf(copy, sizeof copy, "%s", spec);
    char *virtual_start = strchr(copy, '/');
    char *speed = virtual_start != NULL ? strchr(virtual_start + 1, '/') : NULL;

    if (speed == NULL)
        return err_set(err, ERR_REJECT,
                       "L2_CLOCK = '%s': is not <real start>/<virtual start>/<speed>: "
                       "e.g. 1767225600/2024-08-08T23:54:16Z/480",
                       spec);
    *virtual_start++ = '\0';
    *speed++ = '\0';
    if (!parse_time(copy, &clk->real_start_us))
        return err_set(err, ERR_REJECT,
                       "L2_CLOCK: real start '%s': give Unix seconds or RFC 3339 in UTC, as "
                       "2024-08-08T23:54:16Z",
                       copy);
    if (!parse_time(virtual_start, &clk->virtual_start_us))
        return err_set(err, ERR_REJECT,
                       "L2_CLOCK: virtual start '%s': give Unix seconds or RFC 3339 in UTC, as "
                       "2024-08-08T23:54:16Z",
                       virtual_start);
    if (!parse_decimal(speed, (int64_t)CLK_SPEED_MAX, &clk->speed_millionths) ||
        clk->speed_millionths == 0 || clk->speed_millionths > (int64_t)CLK_SPEED_MAX * SPEED_UNIT)
        return err_set(
            err, ERR_REJECT,
            "L2_CLOCK: speed '%s': give a number above 0, at most %g, with at most six decimals",
            speed, CLK_SPEED_MAX);
    if (clk->virtual_start_us >= clk->real_start_us)
        return err_set(err, ERR_REJECT,
                       "L2_CLOCK: virtual start '%s' is not before real start '%s': the rehearsal "
                       "would be over at once; "
                       "give an earlier virtual start",
                       virtual_start, copy);
    return ERR_OK;
}

static struct clk *clk_alloc(enum clk_kind kind)
{
    struct clk *clk = calloc(1, sizeof *clk);

    if (clk != NULL) {
        clk->kind = kind;
        clk->speed_millionths = SPEED_UNIT;
    }
    return clk;
}

enum err_class clk_new(const char *spec, struct clk **ret_clk, struct err *err)
{
    const bool wall = spec == NULL || *spec == '\0';
    struct clk *clk = clk_alloc(wall ? CLK_WALL : CLK_REHEARSAL);

    if (clk == NULL)
        return err_set(err, ERR_FATAL, "clock: out of memory: give the process more");
    if (!wall) {
        const enum err_class e = parse_spec(spec, clk, err);

        if (e != ERR_OK) {
            clk_free(clk);
            return e;
        }
    }
    *ret_clk = clk;
    return ERR_OK;
}

struct clk *clk_new_test(int64_t virtual_us)
{
    struct clk *clk = clk_alloc(CLK_TEST);

    assert(clk != NULL);
    clk_test_set(clk, virtual_us);
    return clk;
}

void clk_test_set(struct clk *clk, int64_t virtual_us)
{
    assert(clk->kind == CLK_TEST);
    atomic_store_explicit(&clk->test_us, virtual_us, memory_order_relaxed);
}

void clk_free(struct clk *clk)
{
    free(clk);
}

int64_t clk_wall_us(void)
{
    return read_clock_us(CLOCK_REALTIME);
}

int64_t clk_mono_us(void)
{
    return read_clock_us(CLOCK_MONOTONIC);
}

int64_t clk_real_us(const struct clk *clk)
{
    if (clk->kind == CLK_TEST)
        return atomic_load_explicit(&clk->test_us, memory_order_relaxed);
    return clk_wall_us();
}

int64_t clk_now_us(const struct clk *clk)
{
    return clk_to_virtual_us(clk, clk_real_us(clk));
}

/* |dividend| < 2^94: 64-bit spans times at most 10^9 millionths. */
static __int128 div_floor(__int128 dividend, int64_t divisor)
{
    const __int128 quotient = dividend / divisor;

    return quotient - (dividend % divisor < 0);
}

static int64_t saturate(__int128 value)
{
    if (value > INT64_MAX)
        return INT64_MAX;
    if (value < INT64_MIN)
        return INT64_MIN;
    return (int64_t)value;
}

int64_t clk_to_virtual_us(const struct clk *clk, int64_t real_us)
{
    if (clk->kind != CLK_REHEARSAL)
        return real_us;
    const __int128 elapsed = (__int128)real_us - clk->real_start_us;

    return saturate(clk->virtual_start_us + div_floor(elapsed * clk->speed_millionths, SPEED_UNIT));
}

int64_t clk_to_real_us(const struct clk *clk, int64_t virtual_us)
{
    if (clk->kind != CLK_REHEARSAL)
        return virtual_us;
    const __int128 elapsed = (__int128)virtual_us - clk->virtual_start_us;

    return saturate(clk->real_start_us -
                    div_floor(-elapsed * SPEED_UNIT, clk->speed_millionths)); /* ceiling */
}

int64_t clk_grace_us(const struct clk *clk, int64_t virtual_us)
{
    const int64_t floor_us =
        (int64_t)((__int128)CLK_REAL_FLOOR_US * clk->speed_millionths / SPEED_UNIT);

    return virtual_us > floor_us ? virtual_us : floor_us;
}

bool clk_is_rehearsal(const struct clk *clk)
{
    return clk->kind == CLK_REHEARSAL;
}

double clk_speed(const struct clk *clk)
{
    return (double)clk->speed_millionths / (double)SPEED_UNIT;
}

bool clk_is_over(const struct clk *clk)
{
    return clk->kind == CLK_REHEARSAL && clk_now_us(clk) >= clk->real_start_us;
}

const char *clk_text(int64_t us, char *buf, unsigned size)
{
    const int64_t seconds = us / CLK_US_PER_S - (us % CLK_US_PER_S < 0);
    const time_t t = (time_t)seconds;
    struct tm tm;

    assert(size >= CLK_TEXT_BYTES);
    if (gmtime_r(&t, &tm) == NULL)
        (void)snprintf(buf, size, "%lld s", (long long)seconds);
    else
        (void)snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                       (int)(us % CLK_US_PER_S + (us % CLK_US_PER_S < 0 ? CLK_US_PER_S : 0)));
    return buf;
}

/* clk_text without a fraction that is zero. */
static const char *short_text(int64_t us, char *buf, unsigned size)
{
    (void)clk_text(us, buf, size);
    char *fraction = strstr(buf, ".000000Z");

    if (fraction != NULL)
        memcpy(fraction, "Z", sizeof "Z");
    return buf;
}

const char *clk_describe(const struct clk *clk, char *buf, unsigned size)
{
    char a[CLK_TEXT_BYTES], b[CLK_TEXT_BYTES];

    assert(size >= CLK_DESCRIBE_BYTES);
    switch (clk->kind) {
    case CLK_WALL:
        (void)snprintf(buf, size, "wall clock");
        break;
    case CLK_REHEARSAL:
        (void)snprintf(buf, size, "rehearsal clock: virtual %s + %.9g x since %s",
                       short_text(clk->virtual_start_us, a, sizeof a), clk_speed(clk),
                       short_text(clk->real_start_us, b, sizeof b));
        break;
    case CLK_TEST:
        (void)snprintf(buf, size, "test clock at %s", short_text(clk_now_us(clk), a, sizeof a));
        break;
    }
    return buf;
}
