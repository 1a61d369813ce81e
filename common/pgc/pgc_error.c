#include "pgc/pgc_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 256

static bool is_one_of(const char *sqlstate, const char *const *prefixes)
{
    for (; *prefixes != NULL; prefixes++) {
        if (strncmp(sqlstate, *prefixes, strlen(*prefixes)) == 0)
            return true;
    }
    return false;
}

enum err_class pgc_class_of(const char *sqlstate)
{
    /* 25P03: the server ended a transaction that idled too long; the connection went with it */
    static const char *const retry[] = {"08",    "40",    "53",    "57", "58",
                                        "55P03", "25006", "25P03", NULL};
    static const char *const reject[] = {"22", "23", "28", "3D", "42", NULL};

    if (is_one_of(sqlstate, retry))
        return ERR_RETRY;
    return is_one_of(sqlstate, reject) ? ERR_REJECT : ERR_FATAL;
}

void pgc_one_line(const char *text, char *ret, size_t size)
{
    const char *const end = strstr(text, "\nLOCATION:");
    size_t n = end == NULL ? strlen(text) : (size_t)(end - text);
    size_t out = 0;

    for (size_t i = 0; i < n && out + 1 < size; i++) {
        const bool is_blank = isspace((unsigned char)text[i]) != 0;
        if (is_blank && (out == 0 || ret[out - 1] == ' '))
            continue;
        ret[out++] = is_blank ? ' ' : text[i];
    }
    while (out > 0 && ret[out - 1] == ' ')
        out--;
    ret[out] = '\0';
}

/*
 * The primary message alone: DETAIL and CONTEXT quote rows. Class 22's primary message quotes the
 * value as well: it ends before the first quote.
 */
static void message_of(const PGresult *result, const char *sqlstate, char *ret, size_t size)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    pgc_one_line(text != NULL ? text : PQresultErrorMessage(result), ret, size);
    if (strncmp(sqlstate, "22", 2) != 0)
        return;
    char *const quote = strchr(ret, '"');
    if (quote != NULL)
        *quote = '\0';
    for (size_t n = strlen(ret); n > 0 && strchr(": ", ret[n - 1]) != NULL; n--)
        ret[n - 1] = '\0';
}

enum err_class pgc_result_error(struct pgc *pgc, const char *what, const PGresult *result,
                                struct err *err)
{
    const char *const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    char message[MESSAGE_BYTES];

    if (state == NULL) { /* libpq's own */
        pgc_one_line(PQresultErrorMessage(result), message, sizeof message);
        if (PQstatus(pgc->conn) == CONNECTION_BAD)
            return pgc_lost(pgc, message, err);
        return err_set(err, ERR_FATAL, "%s: %s: %s", pgc->where, what, message);
    }
    snprintf(pgc->sqlstate, sizeof pgc->sqlstate, "%s", state);
    message_of(result, state, message, sizeof message);
    if (PQstatus(pgc->conn) == CONNECTION_BAD)
        pgc->is_broken = true;
    return err_set(err, pgc_class_of(state), "%s: %s: %s (%s)", pgc->where, what, message, state);
}

/* "…FATAL:  28P01: password…": where a verbose message holds its SQLSTATE; NULL: nowhere. */
static const char *find_sqlstate(const char *text)
{
    for (const char *p = strstr(text, ":  "); p != NULL; p = strstr(p + 1, ":  ")) {
        unsigned n = 0;
        while (n < 5 && (isupper((unsigned char)p[3 + n]) || isdigit((unsigned char)p[3 + n])))
            n++;
        if (n == 5 && p[8] == ':')
            return p + 3;
    }
    return NULL;
}

/*
 * Without a SQLSTATE (refused, unknown host, a certificate that does not fit): RETRY, since all of
 * these are mended at the other end, without a new start of ours.
 */
enum err_class pgc_connect_error(struct pgc *pgc, struct err *err)
{
    const char *const text = PQerrorMessage(pgc->conn);
    const char *const state = find_sqlstate(text);
    char message[MESSAGE_BYTES];

    pgc->is_broken = true;
    if (state == NULL) {
        const char *const why = strstr(text, "failed: "); /* before it: the address, once more */
        pgc_one_line(why != NULL ? why + strlen("failed: ") : text, message, sizeof message);
        return err_set(err, ERR_RETRY, "%s: cannot connect: %s", pgc->where, message);
    }
    snprintf(pgc->sqlstate, sizeof pgc->sqlstate, "%.5s", state);
    pgc_one_line(state + strlen("28P01: "), message, sizeof message);
    return err_set(err, pgc_class_of(pgc->sqlstate), "%s: cannot connect: %s (%s)", pgc->where,
                   message, pgc->sqlstate);
}
