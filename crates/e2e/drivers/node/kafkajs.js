// Drives kafkajs; ../README.md says how it is called.
"use strict";

const readline = require("node:readline");
const kafkajs = require("kafkajs");
const { CompressionTypes, CompressionCodecs, ConfigResourceTypes, Kafka } = kafkajs;

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

// kafkajs has gzip; the others are plugged in, as its documentation tells.
CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
CompressionCodecs[CompressionTypes.LZ4] = () => {
  const lz4 = require("lz4js");
  return {
    compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
  };
};
CompressionCodecs[CompressionTypes.ZSTD] = () => {
  const codec = new Promise((resolve) => require("zstd-codec").ZstdCodec.run((zstd) => resolve(new zstd.Simple())));
  return {
    compress: async (encoder) => Buffer.from((await codec).compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from((await codec).decompress(buffer)),
  };
};

// It waits for a fetch that is under way before it ends or shares anew, by default up to five seconds.
const maxWaitTimeInMs = 100;

const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
const refused = (error) => say("refused", error.type || error.name, error.message.replaceAll("\n", " "));
const input = () => readline.createInterface({ input: process.stdin });

const client = (bootstrap) =>
  new Kafka({
    clientId: "driver",
    brokers: bootstrap.split(","),
    logCreator: () => ({ label, log }) => console.error(label, JSON.stringify(log)),
  });

const record = (line) => {
  const blank = line.indexOf(" ");
  return { partition: Number(line.slice(0, blank)), value: line.slice(blank + 1) };
};

// Sends lines as they come: all that have come while the batch before was under way go together, in order.
class Sender {
  constructor(producer, topic, compression) {
    Object.assign(this, { producer, topic, compression, waiting: [], sending: null });
  }

  send(line) {
    this.waiting.push(record(line));
    this.sending ??= this.drain();
  }

  async drain() {
    while (this.waiting.length > 0) {
      const messages = this.waiting.splice(0);
      try {
        const { topic, compression } = this;
        const told = await this.producer.send({ topic, compression, acks: -1, messages });
        for (const { partition, baseOffset } of told) {
          const own = messages.filter((message) => message.partition === partition);
          own.forEach(({ value }, index) => say("ack", partition, BigInt(baseOffset) + BigInt(index), value));
        }
      } catch (error) {
        console.error(error);
        messages.forEach(({ partition }) => say("fail", partition, error.message));
      }
    }
    this.sending = null;
  }

  async settled() {
    while (this.sending) await this.sending;
  }
}

async function produce(bootstrap, topic, codec) {
  const producer = client(bootstrap).producer({ idempotent: true });
  await producer.connect();
  const sender = new Sender(producer, topic, CODECS[codec]);
  for await (const line of input()) sender.send(line);
  await sender.settled();
  await producer.disconnect();
}

const read = ({ partition, message }) => say("read", partition, message.offset, message.value);

async function consume(bootstrap, topic, isolation) {
  const readUncommitted = isolation === "read_uncommitted";
  const consumer = client(bootstrap).consumer({ groupId: `nobody-${topic}-${isolation}`, readUncommitted, maxWaitTimeInMs });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({ autoCommit: false, eachMessage: async (given) => read(given) });
  for await (const _ of input());
  await consumer.disconnect();
}

async function group(bootstrap, topic, name, _protocol, session) {
  const member = client(bootstrap).consumer({ groupId: name, sessionTimeout: Number(session), maxWaitTimeInMs });
  let held = false;
  member.on(member.events.GROUP_JOIN, ({ payload }) => say("assigned", (payload.memberAssignment[topic] || []).join(",")));
  await member.connect();
  await member.subscribe({ topics: [topic], fromBeginning: true });
  const eachBatch = async ({ batch, resolveOffset, isRunning, isStale }) => {
    if (!isRunning() || isStale()) return;
    const { partition, messages } = batch;
    for (const message of messages) {
      read({ partition, message });
      resolveOffset(message.offset);
    }
    if (!held) {
      const offset = String(BigInt(batch.lastOffset()) + 1n);
      await member.commitOffsets([{ topic, partition, offset }]);
      say("committed", partition, offset);
    }
  };
  await member.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch });
  for await (const _ of input()) {
    held = true;
    say("held");
  }
  await member.disconnect();
}

async function transact(bootstrap, topic, transactionalId) {
  const producer = client(bootstrap).producer({ transactionalId, maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  let transaction, sender;
  const obey = {
    begin: async () => {
      transaction = await producer.transaction();
      sender = new Sender(transaction, topic, CompressionTypes.None);
      say("begun");
    },
    commit: async () => {
      await sender.settled();
      await transaction.commit();
      say("committed");
    },
    abort: async () => {
      await sender.settled();
      await transaction.abort();
      say("aborted");
    },
    offset: async (consumerGroupId, partition, offset) => {
      const topics = [{ topic, partitions: [{ partition: Number(partition), offset }] }];
      await transaction.sendOffsets({ consumerGroupId, topics });
      say("written");
    },
  };
  for await (const line of input()) {
    const [word, ...words] = line.split(" ");
    if (word in obey) await obey[word](...words).catch(refused);
    else sender.send(line);
  }
  await producer.disconnect();
}

async function administer(bootstrap) {
  const admin = client(bootstrap).admin();
  await admin.connect();
  const type = ConfigResourceTypes.TOPIC;
  const obey = {
    create: async (topic, numPartitions, replicationFactor) => {
      const made = { topic, numPartitions: Number(numPartitions), replicationFactor: Number(replicationFactor) };
      if (!(await admin.createTopics({ topics: [made] }))) throw new Error("it is there already");
    },
    describe: async (name) => {
      const [{ partitions }] = (await admin.fetchTopicMetadata({ topics: [name] })).topics;
      return `partitions ${partitions.length} replicas ${partitions[0].replicas.length}`;
    },
    topics: async () => `topics ${(await admin.listTopics()).sort().join(",")}`,
    grow: async (topic, count) => {
      await admin.createPartitions({ topicPartitions: [{ topic, count: Number(count) }] });
    },
    config: async (name, configName) => {
      const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type, name }] });
      return `value ${resources[0].configEntries.find((entry) => entry.configName === configName).configValue}`;
    },
    set: async (name, key, value) => {
      await admin.alterConfigs({ validateOnly: false, resources: [{ type, name, configEntries: [{ name: key, value }] }] });
    },
    truncate: async (topic, partition, offset) => {
      // It looks for the partition's leader before it has asked for the topic, unless something else has asked.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: Number(partition), offset }] });
    },
    groups: async () => `groups ${(await admin.listGroups()).groups.map(({ groupId }) => groupId).sort().join(",")}`,
    group: async (name) => {
      const [{ state, members }] = (await admin.describeGroups([name])).groups;
      return `state ${state} members ${members.length}`;
    },
    offsets: async (groupId, topic) => {
      const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
      const words = partitions.map(({ partition, offset }) => `${partition}:${offset}`);
      return `offsets ${words.sort().join(",")}`;
    },
    forget: async (name) => {
      await admin.deleteGroups([name]);
    },
    delete: async (topic) => {
      await admin.deleteTopics({ topics: [topic] });
    },
  };
  for await (const line of input()) {
    const [word, ...words] = line.split(" ");
    try {
      say((await obey[word](...words)) || "done");
    } catch (error) {
      refused(error);
    }
  }
  await admin.disconnect();
}

const commands = { produce, consume, group, transact, admin: administer };
commands[process.argv[2]](...process.argv.slice(3)).catch((error) => {
  console.error(error);
  process.exit(1);
});
