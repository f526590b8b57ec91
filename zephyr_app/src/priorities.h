/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Who interrupts whom; the one place that decides it. A smaller number goes first.
 *
 *   inference  runs at its period, whatever the others do, and never waits for them
 *   shell      commands
 *   main       status line
 *   stream     parses what a PC sends, if samples are streamed; the interrupt only moves bytes
 *   training   all the time that is left
 *   source     refills the sample queue when training has emptied it, if samples are in flash
 *
 * The library wants inference strictly above everything that changes the network (network.h): then a half-written
 * update can only be met by an inference that has interrupted the writing, and that one completes it first. Training's
 * lock (training.c) lifts the training thread to the priority of whoever waits for it, so those have to stay below
 * inference, too; the inference thread never takes it.
 */
#ifndef FQT_APP_PRIORITIES_H
#define FQT_APP_PRIORITIES_H

#include <zephyr/kernel.h>

#define INFERENCE_PRIORITY CONFIG_FQT_APP_INFERENCE_PRIORITY
#define STATUS_PRIORITY CONFIG_MAIN_THREAD_PRIORITY
#define TRAINING_PRIORITY CONFIG_FQT_APP_TRAINING_PRIORITY
/* Above training, or bytes would wait for the end of a step; below all that answers people. */
#define STREAM_PRIORITY (TRAINING_PRIORITY - 1)
#define SOURCE_PRIORITY (TRAINING_PRIORITY + 1)

BUILD_ASSERT(INFERENCE_PRIORITY < STATUS_PRIORITY && STATUS_PRIORITY < TRAINING_PRIORITY,
             "wanted: FQT_APP_INFERENCE_PRIORITY < MAIN_THREAD_PRIORITY < FQT_APP_TRAINING_PRIORITY");
#ifdef CONFIG_SHELL
BUILD_ASSERT(INFERENCE_PRIORITY < CONFIG_SHELL_THREAD_PRIORITY && CONFIG_SHELL_THREAD_PRIORITY < TRAINING_PRIORITY,
             "wanted: FQT_APP_INFERENCE_PRIORITY < SHELL_THREAD_PRIORITY < FQT_APP_TRAINING_PRIORITY");
#endif
BUILD_ASSERT(TRAINING_PRIORITY >= 0, "inference has to be able to interrupt training");
BUILD_ASSERT(SOURCE_PRIORITY <= K_LOWEST_APPLICATION_THREAD_PRIO, "no priority is left below training");
BUILD_ASSERT(!IS_ENABLED(CONFIG_FQT_APP_SOURCE_STREAM) || (STATUS_PRIORITY < STREAM_PRIORITY && STREAM_PRIORITY >= 0),
             "a priority has to be free between MAIN_THREAD_PRIORITY and FQT_APP_TRAINING_PRIORITY");
BUILD_ASSERT(!IS_ENABLED(CONFIG_SMP), "priorities keep inference and training apart on one core only");
BUILD_ASSERT(!IS_ENABLED(CONFIG_FPU) || IS_ENABLED(CONFIG_FPU_SHARING), "inference and training both use the FPU");

#endif
