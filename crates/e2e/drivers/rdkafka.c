/*
 * A producer and a group of consumers by librdkafka; README.md says how it is called and what it writes.
 *
 * Nothing is tuned: what is set is what a careful user would set, and all else is the library's default.
 */
#include "client.h"
#include <time.h>

/* How long a last flush may take. */
#define FLUSH_MS 60000

/* How long a consumer waits for a record before it looks whether a commit is due. */
#define POLL_MS 5

static int64_t now_us(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void wait_until(int64_t deadline_us) {
	struct timespec at = {deadline_us / 1000000, deadline_us % 1000000 * 1000};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
		;
}

/* ---- produce ---- */

/* CRC-32C, bit by bit: values are short. */
static uint32_t crc32c(const char *bytes, size_t length) {
	uint32_t crc = ~0u;
	for (size_t i = 0; i < length; i++) {
		crc ^= (unsigned char)bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

/* A record's value: who it is, and a checksum of that (crates/verify/src/stamp.rs). Returns its length. */
static size_t stamp(char *value, size_t size, int producer, int32_t partition, int64_t sequence) {
	int length = snprintf(value, size, "ottla1 %016llx %d %d %lld", 1ULL, producer, partition,
	                      (long long)sequence);
	return (size_t)length + (size_t)snprintf(value + length, size - (size_t)length, " %08x",
	                                         crc32c(value, (size_t)length));
}

/* A record under way. */
struct sent {
	int32_t partition;
	int64_t sequence;
	int64_t at_us;
};

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
	struct sent *sent = message->_private;
	int64_t now = now_us();
	(void)client;
	(void)opaque;
	if (message->err)
		printf("fail %d %lld %lld %lld %s\n", sent->partition, (long long)sent->sequence,
		       (long long)sent->at_us, (long long)now, rd_kafka_err2name(message->err));
	else
		printf("ack %d %lld %lld %lld %lld\n", sent->partition, (long long)sent->sequence,
		       (long long)sent->at_us, (long long)now, (long long)message->offset);
	free(sent);
}

static atomic_bool flushed;

static void *serve_deliveries(void *client) {
	while (!atomic_load(&flushed))
		if (rd_kafka_poll(client, 100) > 0)
			fflush(stdout);
	return NULL;
}

static void produce_one(rd_kafka_t *client, const char *topic, int producer, int32_t partition,
                        int64_t sequence) {
	char value[128];
	size_t length = stamp(value, sizeof value, producer, partition, sequence);
	struct sent *sent = malloc(sizeof *sent);
	if (sent == NULL)
		die("malloc", "no memory");
	*sent = (struct sent){partition, sequence, now_us()};
	rd_kafka_resp_err_t error = rd_kafka_producev(
		client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK),
		RD_KAFKA_V_VALUE(value, length), RD_KAFKA_V_OPAQUE(sent), RD_KAFKA_V_END);
	if (error)
		die("produce", rd_kafka_err2str(error));
}

static int produce(const char *bootstrap, const char *topic, int partitions, int interval_ms, int producer,
                   char **settings) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", bootstrap);
	set(conf, "enable.idempotence", "true");
	set(conf, "acks", "all");
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rd_kafka_t *client = client_with(RD_KAFKA_PRODUCER, conf, settings);
	pthread_t deliveries = start(serve_deliveries, client);

	int64_t due = now_us();
	for (int64_t sequence = 0; !atomic_load(&stopping); sequence++) {
		for (int32_t partition = 0; partition < partitions; partition++)
			produce_one(client, topic, producer, partition, sequence);
		due += (int64_t)interval_ms * 1000;
		wait_until(due);
	}
	rd_kafka_resp_err_t error = rd_kafka_flush(client, FLUSH_MS);
	atomic_store(&flushed, true);
	pthread_join(deliveries, NULL);
	if (error)
		die("flush", rd_kafka_err2str(error));
	fflush(stdout);
	rd_kafka_destroy(client);
	return 0;
}

/* ---- consume ---- */

/* Reads every partition from its end, alone. */
static int consume(const char *bootstrap, const char *topic, int partitions, char **settings) {
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", bootstrap);
	/* The library has no consumer without one; nothing is joined. */
	set(conf, "group.id", "alone");
	set(conf, "enable.auto.commit", "false");
	rd_kafka_t *client = client_with(RD_KAFKA_CONSUMER, conf, settings);
	rd_kafka_poll_set_consumer(client);
	rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(partitions);
	for (int32_t partition = 0; partition < partitions; partition++)
		rd_kafka_topic_partition_list_add(all, topic, partition)->offset = RD_KAFKA_OFFSET_END;
	if (rd_kafka_assign(client, all) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("assign", topic);
	rd_kafka_topic_partition_list_destroy(all);
	while (!atomic_load(&stopping)) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(client, POLL_MS);
		if (message == NULL) {
			/* Nothing more has come: what was read is told. */
			fflush(stdout);
			continue;
		}
		if (!message->err)
			printf("read %d %lld %lld %.*s\n", message->partition, (long long)message->offset,
			       (long long)now_us(), (int)message->len, (const char *)message->payload);
		rd_kafka_message_destroy(message);
	}
	fflush(stdout);
	rd_kafka_consumer_close(client);
	rd_kafka_destroy(client);
	return 0;
}

/* ---- group ---- */

/* One member of the group. */
struct member {
	int number;
	const char *bootstrap, *topic, *group;
	int interval_ms;
	char **settings;
};

/* Members write whole lines, several at a time. */
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

/* All that a member has. */
static void write_assignment(rd_kafka_t *client, const struct member *member) {
	rd_kafka_topic_partition_list_t *given = NULL;
	rd_kafka_resp_err_t error = rd_kafka_assignment(client, &given);
	/* One that is being closed says no more what it has: it has nothing. */
	if (error && !atomic_load(&stopping))
		die("assignment", rd_kafka_err2str(error));
	printf("assigned %d %lld ", member->number, (long long)now_us());
	for (int i = 0; given != NULL && i < given->cnt; i++)
		printf(i == 0 ? "%d" : ",%d", given->elems[i].partition);
	printf("\n");
	if (given != NULL)
		rd_kafka_topic_partition_list_destroy(given);
}

/* Carries out what the group wants. Protocols that move only what must move name only that. */
static void assign(rd_kafka_t *client, bool given, rd_kafka_topic_partition_list_t *list) {
	if (strcmp(rd_kafka_rebalance_protocol(client), "COOPERATIVE") != 0)
		rd_kafka_assign(client, given ? list : NULL);
	else if (given)
		rd_kafka_error_destroy(rd_kafka_incremental_assign(client, list));
	else
		rd_kafka_error_destroy(rd_kafka_incremental_unassign(client, list));
}

static void rebalanced(rd_kafka_t *client, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list,
                       void *opaque) {
	struct member *member = opaque;
	bool given = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
	pthread_mutex_lock(&output);
	if (!given)
		printf("%s %d %lld\n", rd_kafka_assignment_lost(client) ? "lost" : "revoked", member->number,
		       (long long)now_us());
	assign(client, given, list);
	write_assignment(client, member);
	fflush(stdout);
	pthread_mutex_unlock(&output);
}

/* Commits how far the member has read. */
static void commit(rd_kafka_t *client, const struct member *member) {
	rd_kafka_topic_partition_list_t *at = NULL;
	if (rd_kafka_assignment(client, &at) != RD_KAFKA_RESP_ERR_NO_ERROR || at->cnt == 0 ||
	    rd_kafka_position(client, at) != RD_KAFKA_RESP_ERR_NO_ERROR) {
		if (at != NULL)
			rd_kafka_topic_partition_list_destroy(at);
		return;
	}
	/* Where nothing was read there is nothing to commit. */
	for (int i = at->cnt - 1; i >= 0; i--)
		if (at->elems[i].offset < 0)
			rd_kafka_topic_partition_list_del_by_idx(at, i);
	if (at->cnt > 0) {
		int64_t sent = now_us();
		rd_kafka_resp_err_t error = rd_kafka_commit(client, at, 0);
		int64_t done = now_us();
		pthread_mutex_lock(&output);
		printf("commit %d %lld %lld %s\n", member->number, (long long)sent, (long long)done,
		       error ? rd_kafka_err2name(error) : "ok");
		for (int i = 0; i < at->cnt; i++)
			printf("%s %d %d %lld\n", error ? "tried" : "committed", member->number,
			       at->elems[i].partition, (long long)at->elems[i].offset);
		fflush(stdout);
		pthread_mutex_unlock(&output);
	}
	rd_kafka_topic_partition_list_destroy(at);
}

static void *take_part(void *argument) {
	struct member *member = argument;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", member->bootstrap);
	set(conf, "group.id", member->group);
	set(conf, "auto.offset.reset", "earliest");
	set(conf, "enable.auto.commit", "false");
	rd_kafka_conf_set_opaque(conf, member);
	rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
	rd_kafka_t *client = client_with(RD_KAFKA_CONSUMER, conf, member->settings);
	rd_kafka_poll_set_consumer(client);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, member->topic, RD_KAFKA_PARTITION_UA);
	if (rd_kafka_subscribe(client, topics) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("subscribe", member->topic);
	rd_kafka_topic_partition_list_destroy(topics);

	int64_t due = now_us();
	while (!atomic_load(&stopping)) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(client, POLL_MS);
		if (message != NULL)
			rd_kafka_message_destroy(message);
		if (now_us() >= due) {
			commit(client, member);
			due = now_us() + (int64_t)member->interval_ms * 1000;
		}
	}
	rd_kafka_consumer_close(client);
	rd_kafka_destroy(client);
	return NULL;
}

static int group(const char *bootstrap, const char *topic, const char *group_id, int count, int interval_ms,
                 char **settings) {
	pthread_t *threads = calloc((size_t)count, sizeof *threads);
	struct member *members = calloc((size_t)count, sizeof *members);
	if (threads == NULL || members == NULL)
		die("calloc", "no memory");
	for (int i = 0; i < count; i++) {
		members[i] = (struct member){i, bootstrap, topic, group_id, interval_ms, settings};
		threads[i] = start(take_part, &members[i]);
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	free(members);
	return 0;
}

static int number(const char *text, int least) {
	int value = atoi(text);
	if (value < least)
		die(text, "is too small a number");
	return value;
}

/* Says that it is there, and waits until it is told to begin: a client that connects now, and not when it was started. */
static void wait_for_a_line(void) {
	char byte;
	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) == 1)
		if (byte == '\n')
			return;
	exit(0);
}

int main(int count, char **arguments) {
	fprintf(stderr, "librdkafka %s\n", rd_kafka_version_str());
	if (count > 1 && strcmp(arguments[1], "later") == 0) {
		wait_for_a_line();
		count--;
		arguments++;
	}
	start(watch_input, NULL);
	if (count >= 7 && strcmp(arguments[1], "produce") == 0)
		return produce(arguments[2], arguments[3], number(arguments[4], 1), number(arguments[5], 1),
		               number(arguments[6], 0), arguments + 7);
	if (count >= 5 && strcmp(arguments[1], "consume") == 0)
		return consume(arguments[2], arguments[3], number(arguments[4], 1), arguments + 5);
	if (count >= 7 && strcmp(arguments[1], "group") == 0)
		return group(arguments[2], arguments[3], arguments[4], number(arguments[5], 1),
		             number(arguments[6], 1), arguments + 7);
	fprintf(stderr, "usage: [later] produce BOOTSTRAP TOPIC PARTITIONS INTERVAL_MS PRODUCER [NAME=VALUE...]\n"
	                "       [later] consume BOOTSTRAP TOPIC PARTITIONS [NAME=VALUE...]\n"
	                "       [later] group BOOTSTRAP TOPIC GROUP MEMBERS INTERVAL_MS [NAME=VALUE...]\n");
	return 2;
}
