"""Drives kafka-python; ../README.md says how it is called."""

import logging
import sys

import kafka
from kafka.admin import ConfigResource
from kafka.structs import OffsetAndMetadata, TopicPartition

import lines


def produce(bootstrap, topic, codec):
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type=None if codec == "none" else codec
    )
    for line in lines.each():
        send(producer, topic, line)
    producer.flush()
    producer.close()


def send(producer, topic, line):
    partition, value = lines.record(line)
    future = producer.send(topic, value, partition=partition)
    future.add_callback(lambda told: lines.acknowledged(told.partition, told.offset, value))
    future.add_errback(lambda error: lines.say("fail", partition, repr(error)))


def consume(bootstrap, topic, isolation):
    consumer = kafka.KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level=isolation
    )
    source = lines.Input()
    while not source.is_over:
        lines.polled(consumer.poll(timeout_ms=100))
    consumer.close()


def group(bootstrap, topic, name, _protocol, session):
    member = kafka.KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=name,
        session_timeout_ms=int(session),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    told = lines.Member()
    while told.goes_on():
        polled = member.poll(timeout_ms=100, max_records=100)
        told.has(member.assignment())
        lines.polled(polled)
        if told.commits() and polled:
            ends = {partition: records[-1].offset + 1 for partition, records in polled.items()}
            member.commit({partition: OffsetAndMetadata(end, "", -1) for partition, end in ends.items()})
            for partition, end in ends.items():
                lines.say("committed", partition.partition, end)
    member.close(autocommit=False)


def transact(bootstrap, topic, name):
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
    producer.init_transactions()
    for line in lines.each():
        word, *words = line.split(" ")
        try:
            if word == "begin":
                producer.begin_transaction()
                lines.say("begun")
            elif word == "commit":
                producer.commit_transaction()
                lines.say("committed")
            elif word == "abort":
                producer.abort_transaction()
                lines.say("aborted")
            elif word == "offset":
                place = TopicPartition(topic, int(words[1]))
                offsets = {place: OffsetAndMetadata(int(words[2]), "", -1)}
                producer.send_offsets_to_transaction(offsets, words[0])
                lines.say("written")
            else:
                send(producer, topic, line)
        except Exception as error:  # Whatever a library raises is its answer.
            lines.refused(error)
    producer.close()


def administer(bootstrap):
    admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)

    def obey(command, words):
        if command == "create":
            partitions, replicas = int(words[1]), int(words[2])
            admin.create_topics({words[0]: {"num_partitions": partitions, "replication_factor": replicas}})
        elif command == "describe":
            [topic] = admin.describe_topics([words[0]])
            if topic["error_code"]:
                raise kafka.errors.for_code(topic["error_code"])
            partitions = topic["partitions"]
            return f"partitions {len(partitions)} replicas {len(partitions[0]['replica_nodes'])}"
        elif command == "topics":
            return lines.listed("topics", admin.list_topics())
        elif command == "grow":
            admin.create_partitions({words[0]: int(words[1])})
        elif command == "config":
            told = admin.describe_configs([ConfigResource("TOPIC", words[0])], config_filter="all")
            return f"value {told['topic'][words[0]][words[1]]['value']}"
        elif command == "set":
            admin.alter_configs([ConfigResource("TOPIC", words[0], {words[1]: words[2]})])
        elif command == "truncate":
            admin.delete_records({TopicPartition(words[0], int(words[1])): int(words[2])})
        elif command == "groups":
            return lines.listed("groups", [told["group_id"] for told in admin.list_groups()])
        elif command == "group":
            told = admin.describe_groups([words[0]])[words[0]]
            return f"state {told['group_state']} members {len(told['members'])}"
        elif command == "offsets":
            told = admin.list_group_offsets({words[0]: None})[words[0]]
            return lines.offsets((place.partition, end.offset) for place, end in told.items())
        elif command == "forget":
            admin.delete_groups([words[0]])
        elif command == "delete":
            admin.delete_topics([words[0]])
        else:
            raise ValueError(command)

    lines.administer(obey)
    admin.close()


logging.basicConfig(level=logging.INFO)
COMMANDS = {
    "produce": produce,
    "consume": consume,
    "group": group,
    "transact": transact,
    "admin": administer,
}
COMMANDS[sys.argv[1]](*sys.argv[2:])
