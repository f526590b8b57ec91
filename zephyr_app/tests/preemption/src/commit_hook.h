/* SPDX-License-Identifier: Apache-2.0 */
/** Stops the training thread inside a commit, before and in the middle of each piece that it copies. */
#ifndef FQT_TEST_COMMIT_HOOK_H
#define FQT_TEST_COMMIT_HOOK_H

/** What happens where training is stopped; NULL: nothing. */
void commit_hook_set(void (*stopped)(void));

#endif
