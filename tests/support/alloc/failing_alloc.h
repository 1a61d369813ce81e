/* failing_alloc.h: one allocation of the code under test fails. The linker puts these before
 * malloc, calloc, realloc and strdup of what is linked statically; libraries have their own. */
#ifndef FAILING_ALLOC_H
#define FAILING_ALLOC_H

extern int failing_alloc_in; /* this allocation from now on fails, once; 0: none */

#endif
