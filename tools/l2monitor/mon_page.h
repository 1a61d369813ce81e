/* mon_page.h: the page around the data, made by page/embed.py when the program is built. */
#ifndef MON_PAGE_H
#define MON_PAGE_H

extern const char mon_page_before[], mon_page_behind[];

#endif
