// Drives confluent-kafka-javascript, which is librdkafka, by its promises; ../README.md says how it is called.
"use strict";

const readline = require("node:readline");
const { Kafka } = require("@confluentinc/kafka-javascript").KafkaJS;

const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
const refused = (error) => say("refused", error.type || error.name, error.message.replaceAll("\n", " "));
const input = () => readline.createInterface({ input: process.stdin });

const logger = {};
for (const level of ["error", "warn", "info", "debug"]) logger[level] = (...words) => console.error(level, ...words);
logger.namespace = () => logger;
logger.setLogLevel = () => {};

const client = (bootstrap) => new Kafka({ kafkaJS: { clientId: "driver", brokers: bootstrap.split(","), logger } });

// Sends what a line tells; resolves when the library has said what became of it.
async function send(producer, topic, line) {
  const blank = line.indexOf(" ");
  const [partition, value] = [Number(line.slice(0, blank)), line.slice(blank + 1)];
  try {
    const [told] = await producer.send({ topic, messages: [{ partition, value }] });
    say("ack", partition, told.baseOffset, value);
  } catch (error) {
    say("fail", partition, error.message);
  }
}

async function produce(bootstrap, topic, compression) {
  const producer = client(bootstrap).producer({ kafkaJS: { idempotent: true, acks: -1, compression }, "linger.ms": 5 });
  await producer.connect();
  const sending = [];
  for await (const line of input()) sending.push(send(producer, topic, line));
  await Promise.all(sending);
  await producer.disconnect();
}

const read = ({ partition, message }) => say("read", partition, message.offset, message.value);

async function consume(bootstrap, topic, isolation) {
  const groupId = `nobody-${topic}-${isolation}`;
  const settings = { groupId, fromBeginning: true, autoCommit: false };
  const consumer = client(bootstrap).consumer({ kafkaJS: settings, "isolation.level": isolation });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic] });
  await consumer.run({ eachMessage: async (given) => read(given) });
  for await (const _ of input());
  await consumer.disconnect();
}

async function group(bootstrap, topic, groupId, protocol, session) {
  // The new protocol leaves the session to the broker.
  const own = protocol === "classic" ? { "session.timeout.ms": Number(session) } : {};
  const settings = { groupId, fromBeginning: true, autoCommit: false };
  const member = client(bootstrap).consumer({ kafkaJS: settings, "group.protocol": protocol, ...own });
  await member.connect();
  await member.subscribe({ topics: [topic] });
  let [had, held] = ["", false];
  const watcher = setInterval(() => {
    const has = member.assignment().map(({ partition }) => partition).sort().join(",");
    if (has !== had) say("assigned", has);
    had = has;
  }, 50);
  const eachMessage = async ({ partition, message }) => {
    read({ partition, message });
    if (held) return;
    const offset = String(BigInt(message.offset) + 1n);
    await member.commitOffsets([{ topic, partition, offset }]);
    say("committed", partition, offset);
  };
  await member.run({ eachMessage });
  for await (const _ of input()) {
    held = true;
    say("held");
  }
  clearInterval(watcher);
  await member.disconnect();
}

async function transact(bootstrap, topic, transactionalId) {
  const producer = client(bootstrap).producer({ kafkaJS: { transactionalId } });
  await producer.connect();
  let transaction;
  const obey = {
    begin: async () => {
      transaction = await producer.transaction();
      say("begun");
    },
    commit: async () => {
      await transaction.commit();
      say("committed");
    },
    abort: async () => {
      await transaction.abort();
      say("aborted");
    },
    offset: async (groupId, partition, offset) => {
      const consumer = client(bootstrap).consumer({ kafkaJS: { groupId } });
      await consumer.connect();
      await transaction.sendOffsets({ consumer, topics: [{ topic, partitions: [{ partition: Number(partition), offset }] }] });
      await consumer.disconnect();
      say("written");
    },
  };
  for await (const line of input()) {
    const [word, ...words] = line.split(" ");
    if (word in obey) await obey[word](...words).catch(refused);
    else send(transaction, topic, line);
  }
  await producer.disconnect();
}

async function administer(bootstrap) {
  const admin = client(bootstrap).admin();
  await admin.connect();
  const name = (state) => state[0] + state.slice(1).toLowerCase();
  const STATES = ["Unknown", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty"];
  const obey = {
    create: async (topic, numPartitions, replicationFactor) => {
      const made = { topic, numPartitions: Number(numPartitions), replicationFactor: Number(replicationFactor) };
      if (!(await admin.createTopics({ topics: [made] }))) throw new Error("it is there already");
    },
    describe: async (topic) => {
      const [{ partitions }] = await admin.fetchTopicMetadata({ topics: [topic] });
      return `partitions ${partitions.length} replicas ${partitions[0].replicas.length}`;
    },
    topics: async () => `topics ${(await admin.listTopics()).sort().join(",")}`,
    truncate: async (topic, partition, offset) => {
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: Number(partition), offset }] });
    },
    groups: async () => `groups ${(await admin.listGroups()).groups.map(({ groupId }) => groupId).sort().join(",")}`,
    group: async (groupId) => {
      const [{ state, members }] = (await admin.describeGroups([groupId])).groups;
      return `state ${typeof state === "number" ? STATES[state] : name(state)} members ${members.length}`;
    },
    offsets: async (groupId, topic) => {
      const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
      const words = partitions.map(({ partition, offset }) => `${partition}:${offset}`);
      return `offsets ${words.sort().join(",")}`;
    },
    forget: async (groupId) => {
      await admin.deleteGroups([groupId]);
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
