/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted: the instructions executed between count_start() and count_stop(), by count_plugin.c. */
#ifndef COUNT_H
#define COUNT_H

/* Their addresses are the marks: they must stay functions, and one instruction long. */
void count_start(void);
void count_stop(void);

#endif
