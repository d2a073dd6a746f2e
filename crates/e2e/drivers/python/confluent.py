"""Drives confluent-kafka, which is librdkafka; ../README.md says how it is called."""

import sys
import threading

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaException,
    Consumer,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

import lines


class Sender:
    """A producer whose acknowledgements are told as they come."""

    def __init__(self, settings, topic):
        self.producer = Producer(settings)
        self.topic = topic
        self.is_over = False
        self.poller = threading.Thread(target=self._poll)
        self.poller.start()

    def _poll(self):
        while not self.is_over:
            self.producer.poll(0.1)

    def send(self, line):
        partition, value = lines.record(line)
        self.producer.produce(self.topic, value, partition=partition, on_delivery=self._told)

    @staticmethod
    def _told(error, record):
        if error:
            lines.say("fail", record.partition(), str(error))
        else:
            lines.acknowledged(record.partition(), record.offset(), record.value())

    def close(self):
        self.producer.flush()
        self.is_over = True
        self.poller.join()


def produce(bootstrap, topic, codec):
    sender = Sender(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "enable.idempotence": True,
            "linger.ms": 5,
        },
        topic,
    )
    for line in lines.each():
        sender.send(line)
    sender.close()


def consume(bootstrap, topic, isolation):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "nobody",
            "isolation.level": isolation,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    partitions = consumer.list_topics(topic).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    source = lines.Input()
    while not source.is_over:
        say(consumer.consume(1000, 0.1))
    consumer.close()


def say(records):
    for record in records:
        if record.error():
            print(record.error(), file=sys.stderr)
        else:
            lines.read(record.partition(), record.offset(), record.value())


def group(bootstrap, topic, name, protocol, session):
    # The new protocol leaves this to the broker.
    own = {"session.timeout.ms": int(session)} if protocol == "classic" else {}
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": name,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    member = Consumer(settings | own)
    member.subscribe([topic])
    told = lines.Member()
    while told.goes_on():
        records = [record for record in member.consume(100, 0.1) if not record.error()]
        told.has(member.assignment())
        say(records)
        if told.commits() and records:
            ends = {record.partition(): record.offset() + 1 for record in records}
            offsets = [TopicPartition(topic, partition, end) for partition, end in ends.items()]
            for place in member.commit(offsets=offsets, asynchronous=False):
                if place.error:
                    print(place.error, file=sys.stderr)
                else:
                    lines.say("committed", place.partition, place.offset)
    member.close()


def transact(bootstrap, topic, name):
    sender = Sender({"bootstrap.servers": bootstrap, "transactional.id": name}, topic)
    producer = sender.producer
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
                producer.flush()
                producer.abort_transaction()
                lines.say("aborted")
            elif word == "offset":
                who = Consumer({"bootstrap.servers": bootstrap, "group.id": words[0]})
                place = TopicPartition(topic, int(words[1]), int(words[2]))
                producer.send_offsets_to_transaction([place], who.consumer_group_metadata())
                who.close()
                lines.say("written")
            else:
                sender.send(line)
        except KafkaException as error:
            lines.refused(error)
    sender.close()


def administer(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def only(futures):
        [future] = futures.values()
        return future.result()

    def obey(command, words):
        if command == "create":
            only(admin.create_topics([NewTopic(words[0], int(words[1]), int(words[2]))]))
        elif command == "describe":
            told = only(admin.describe_topics(TopicCollection([words[0]])))
            return f"partitions {len(told.partitions)} replicas {len(told.partitions[0].replicas)}"
        elif command == "topics":
            return lines.listed("topics", admin.list_topics().topics)
        elif command == "grow":
            only(admin.create_partitions([NewPartitions(words[0], int(words[1]))]))
        elif command == "config":
            told = only(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, words[0])]))
            return f"value {told[words[1]].value}"
        elif command == "set":
            change = ConfigEntry(words[1], words[2], incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, words[0], incremental_configs=[change])
            only(admin.incremental_alter_configs([resource]))
        elif command == "truncate":
            only(admin.delete_records([TopicPartition(words[0], int(words[1]), int(words[2]))]))
        elif command == "groups":
            told = admin.list_consumer_groups().result()
            return lines.listed("groups", [listing.group_id for listing in told.valid])
        elif command == "group":
            told = only(admin.describe_consumer_groups([words[0]]))
            return f"state {told.state.name.title()} members {len(told.members)}"
        elif command == "offsets":
            told = only(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(words[0])]))
            return lines.offsets((place.partition, place.offset) for place in told.topic_partitions)
        elif command == "forget":
            only(admin.delete_consumer_groups([words[0]]))
        elif command == "delete":
            only(admin.delete_topics([words[0]]))
        else:
            raise ValueError(command)

    lines.administer(obey)


COMMANDS = {
    "produce": produce,
    "consume": consume,
    "group": group,
    "transact": transact,
    "admin": administer,
}
COMMANDS[sys.argv[1]](*sys.argv[2:])
