/*
 * Copies a topic into another, exactly once: each transaction holds some records and the offsets up to which they were read.
 * Every fifth transaction is aborted on purpose, and made again. README.md says how it is called and what it writes.
 */
#include "client.h"

/* How long to wait for a record before what was read is committed. */
#define POLL_MS 200

/* How long a call of the library may take before it says that it would like to be called again. */
#define CALL_MS 10000

/* One in so many transactions is aborted. */
#define ABORTED_EVERY 5

struct copier {
	rd_kafka_t *consumer, *producer;
	const char *to;
	int per_transaction;
};

/* Whether a call has to be made again; ends the program when it can never succeed. */
static bool again(const char *what, rd_kafka_error_t *error, bool *aborts) {
	if (error == NULL)
		return false;
	fprintf(stderr, "%s: %s: %s\n", what, rd_kafka_error_name(error), rd_kafka_error_string(error));
	bool retriable = rd_kafka_error_is_retriable(error);
	bool abortable = rd_kafka_error_txn_requires_abort(error);
	rd_kafka_error_destroy(error);
	if (abortable && aborts != NULL)
		*aborts = true;
	else if (!retriable)
		exit(1);
	return retriable && !abortable;
}

/* Reads up to as many records as a transaction holds, and sends each to the same partition. Returns how many. */
static int copy_some(struct copier *copier, bool *aborts) {
	int copied = 0;
	while (copied < copier->per_transaction && !*aborts) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(copier->consumer, POLL_MS);
		if (message == NULL)
			break;
		if (!message->err) {
			rd_kafka_resp_err_t error = rd_kafka_producev(
				copier->producer, RD_KAFKA_V_TOPIC(copier->to),
				RD_KAFKA_V_PARTITION(message->partition),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK),
				RD_KAFKA_V_KEY(message->key, message->key_len),
				RD_KAFKA_V_VALUE(message->payload, message->len), RD_KAFKA_V_END);
			if (error) {
				fprintf(stderr, "produce: %s\n", rd_kafka_err2str(error));
				*aborts = true;
			}
			copied++;
		}
		rd_kafka_message_destroy(message);
	}
	return copied;
}

/* The offsets up to which was read, as a part of the transaction. */
static void send_offsets(struct copier *copier, bool *aborts) {
	rd_kafka_topic_partition_list_t *at = NULL;
	if (rd_kafka_assignment(copier->consumer, &at) || rd_kafka_position(copier->consumer, at))
		die("position", "unknown");
	for (int i = at->cnt - 1; i >= 0; i--)
		if (at->elems[i].offset < 0)
			rd_kafka_topic_partition_list_del_by_idx(at, i);
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(copier->consumer);
	while (again("send offsets",
	             rd_kafka_send_offsets_to_transaction(copier->producer, at, group, CALL_MS), aborts))
		;
	rd_kafka_consumer_group_metadata_destroy(group);
	rd_kafka_topic_partition_list_destroy(at);
}

/* Goes back to where the last committed transaction ended. */
static void rewind_reading(struct copier *copier) {
	rd_kafka_topic_partition_list_t *at = NULL;
	if (rd_kafka_assignment(copier->consumer, &at))
		die("assignment", "unknown");
	rd_kafka_resp_err_t error;
	while ((error = rd_kafka_committed(copier->consumer, at, CALL_MS)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		fprintf(stderr, "committed: %s\n", rd_kafka_err2str(error));
	for (int i = 0; i < at->cnt; i++)
		if (at->elems[i].offset < 0)
			at->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	if (at->cnt > 0) {
		rd_kafka_error_t *failed = rd_kafka_seek_partitions(copier->consumer, at, CALL_MS);
		if (failed != NULL)
			die("seek", rd_kafka_error_string(failed));
	}
	rd_kafka_topic_partition_list_destroy(at);
}

static void make_transaction(struct copier *copier, int number) {
	bool aborts = false;
	if (again("begin", rd_kafka_begin_transaction(copier->producer), NULL))
		return;
	int copied = copy_some(copier, &aborts);
	if (copied > 0 && !aborts)
		send_offsets(copier, &aborts);
	bool planned = copied > 0 && number % ABORTED_EVERY == 0;
	if (!aborts && !planned) {
		while (again("commit", rd_kafka_commit_transaction(copier->producer, CALL_MS), &aborts))
			;
		if (!aborts) {
			if (copied > 0)
				printf("committed %d\n", copied);
			fflush(stdout);
			return;
		}
	}
	while (again("abort", rd_kafka_abort_transaction(copier->producer, CALL_MS), NULL))
		;
	printf("aborted %d\n", copied);
	fflush(stdout);
	rewind_reading(copier);
}

int main(int count, char **arguments) {
	fprintf(stderr, "librdkafka %s\n", rd_kafka_version_str());
	if (count < 7) {
		fprintf(stderr, "usage: BOOTSTRAP FROM TO GROUP TRANSACTIONAL_ID RECORDS [NAME=VALUE...]\n");
		return 2;
	}
	start(watch_input, NULL);
	rd_kafka_conf_t *reading = rd_kafka_conf_new();
	set(reading, "bootstrap.servers", arguments[1]);
	set(reading, "group.id", arguments[4]);
	set(reading, "auto.offset.reset", "earliest");
	set(reading, "enable.auto.commit", "false");
	char *nothing[] = {NULL};
	struct copier copier = {client_with(RD_KAFKA_CONSUMER, reading, nothing), NULL, arguments[3],
	                        atoi(arguments[6])};
	rd_kafka_poll_set_consumer(copier.consumer);
	rd_kafka_conf_t *writing = rd_kafka_conf_new();
	set(writing, "bootstrap.servers", arguments[1]);
	set(writing, "transactional.id", arguments[5]);
	copier.producer = client_with(RD_KAFKA_PRODUCER, writing, arguments + 7);
	while (again("init", rd_kafka_init_transactions(copier.producer, CALL_MS), NULL))
		;
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(topics, arguments[2], RD_KAFKA_PARTITION_UA);
	if (rd_kafka_subscribe(copier.consumer, topics) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("subscribe", arguments[2]);
	rd_kafka_topic_partition_list_destroy(topics);
	for (int number = 1; !atomic_load(&stopping); number++)
		make_transaction(&copier, number);
	rd_kafka_consumer_close(copier.consumer);
	rd_kafka_destroy(copier.consumer);
	rd_kafka_destroy(copier.producer);
	return 0;
}
