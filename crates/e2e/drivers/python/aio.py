"""Drives aiokafka; ../README.md says how it is called."""

import asyncio
import logging
import sys

import aiokafka
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

import lines


async def each():
    """The lines of standard input, read beside other work."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield line.rstrip("\n")


async def send(producer, topic, line):
    partition, value = lines.record(line)

    def told(future):
        if future.exception():
            lines.say("fail", partition, repr(future.exception()))
        else:
            lines.acknowledged(partition, future.result().offset, value)

    future = await producer.send(topic, value, partition=partition)
    future.add_done_callback(told)


async def produce(bootstrap, topic, codec):
    compression = None if codec == "none" else codec
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, compression_type=compression
    ) as producer:
        async for line in each():
            await send(producer, topic, line)
        await producer.flush()


async def consume(bootstrap, topic, isolation):
    async with aiokafka.AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level=isolation
    ) as consumer:
        source = lines.Input()
        while not source.is_over:
            lines.polled(await consumer.getmany(timeout_ms=100))


async def group(bootstrap, topic, name, _protocol, session):
    member = aiokafka.AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=name,
        session_timeout_ms=int(session),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    told = lines.Member()
    async with member:
        while told.goes_on():
            polled = await member.getmany(timeout_ms=100, max_records=100)
            told.has(member.assignment())
            lines.polled(polled)
            if told.commits() and polled:
                ends = {partition: records[-1].offset + 1 for partition, records in polled.items()}
                await member.commit(ends)
                for partition, end in ends.items():
                    lines.say("committed", partition.partition, end)


async def transact(bootstrap, topic, name):
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name) as producer:
        async for line in each():
            word, *words = line.split(" ")
            try:
                if word == "begin":
                    await producer.begin_transaction()
                    lines.say("begun")
                elif word == "commit":
                    await producer.commit_transaction()
                    lines.say("committed")
                elif word == "abort":
                    await producer.flush()
                    await producer.abort_transaction()
                    lines.say("aborted")
                elif word == "offset":
                    offsets = {TopicPartition(topic, int(words[1])): int(words[2])}
                    await producer.send_offsets_to_transaction(offsets, words[0])
                    lines.say("written")
                else:
                    await send(producer, topic, line)
            except Exception as error:  # Whatever a library raises is its answer.
                lines.refused(error)


async def administer(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    def no_errors(answer, field="topic_errors"):
        """This library hands out answers as they came."""
        for _, code, *_ in getattr(answer, field):
            if code:
                raise for_code(code)

    async def obey(command, words):
        if command == "create":
            no_errors(await admin.create_topics([NewTopic(words[0], int(words[1]), int(words[2]))]))
        elif command == "describe":
            [told] = await admin.describe_topics([words[0]])
            if told["error_code"]:
                raise for_code(told["error_code"])
            return f"partitions {len(told['partitions'])} replicas {len(told['partitions'][0]['replicas'])}"
        elif command == "topics":
            return lines.listed("topics", await admin.list_topics())
        elif command == "grow":
            no_errors(await admin.create_partitions({words[0]: NewPartitions(int(words[1]))}))
        elif command == "config":
            [told] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, words[0])])
            values = {entry[0]: entry[1] for entry in told.resources[0][4]}
            return f"value {values[words[1]]}"
        elif command == "set":
            change = ConfigResource(ConfigResourceType.TOPIC, words[0], {words[1]: words[2]})
            [told] = await admin.alter_configs([change])
            if told.resources[0][0]:
                raise for_code(told.resources[0][0])
        elif command == "truncate":
            place = TopicPartition(words[0], int(words[1]))
            await admin.delete_records({place: RecordsToDelete(before_offset=int(words[2]))})
        elif command == "groups":
            return lines.listed("groups", [name for name, _ in await admin.list_consumer_groups()])
        elif command == "group":
            [told] = await admin.describe_consumer_groups([words[0]])
            [(_, _, state, _, _, members, *_)] = told.groups
            return f"state {state} members {len(members)}"
        elif command == "offsets":
            told = await admin.list_consumer_group_offsets(words[0])
            return lines.offsets((place.partition, end.offset) for place, end in told.items())
        elif command == "delete":
            no_errors(await admin.delete_topics([words[0]]), "topic_error_codes")
        else:
            raise ValueError(command)

    async for line in each():
        command, *words = line.split(" ")
        try:
            lines.say(await obey(command, words) or "done")
        except Exception as error:  # Whatever a library raises is its answer.
            lines.refused(error)
    await admin.close()


logging.basicConfig(level=logging.INFO)
COMMANDS = {
    "produce": produce,
    "consume": consume,
    "group": group,
    "transact": transact,
    "admin": administer,
}
asyncio.run(COMMANDS[sys.argv[1]](*sys.argv[2:]))
