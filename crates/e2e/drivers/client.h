/*
 * What programs around librdkafka share: settings, and the end of standard input.
 */
#ifndef OTTLA_CLIENT_H
#define OTTLA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Set when standard input has ended. */
static atomic_bool stopping;

static void die(const char *what, const char *why) {
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
	char why[512];
	if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
		die(name, why);
}

/* All of the library's own story, for who asks: RDKAFKA_DEBUG=broker,metadata,msg,... */
static void set_debug(rd_kafka_conf_t *conf) {
	const char *contexts = getenv("RDKAFKA_DEBUG");
	if (contexts != NULL)
		set(conf, "debug", contexts);
}

/* NAME=VALUE, each a setting of the library's. */
static void set_all(rd_kafka_conf_t *conf, char **settings) {
	for (; *settings != NULL; settings++) {
		char name[128];
		const char *equals = strchr(*settings, '=');
		if (equals == NULL || (size_t)(equals - *settings) >= sizeof name)
			die(*settings, "is no NAME=VALUE");
		snprintf(name, sizeof name, "%.*s", (int)(equals - *settings), *settings);
		set(conf, name, equals + 1);
	}
}

/* A client of this configuration, and of what the command line sets besides. */
static rd_kafka_t *client_with(rd_kafka_type_t type, rd_kafka_conf_t *conf, char **settings) {
	char why[512];
	set_all(conf, settings);
	set_debug(conf);
	rd_kafka_t *client = rd_kafka_new(type, conf, why, sizeof why);
	if (client == NULL)
		die("rd_kafka_new", why);
	return client;
}

/* Ends when standard input does. */
static void *watch_input(void *unused) {
	char ignored[256];
	(void)unused;
	while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
		;
	atomic_store(&stopping, true);
	return NULL;
}

static pthread_t start(void *(*run)(void *), void *argument) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, argument) != 0)
		die("pthread_create", "no thread can be started");
	return thread;
}

#endif
