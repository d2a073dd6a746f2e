// Command franz drives franz-go; ../../README.md says how it is called.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"ottla/drivers/lines"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

var background = context.Background()

func main() {
	command, words := os.Args[1], os.Args[2:]
	switch command {
	case "produce":
		produce(words[0], words[1], words[2])
	case "consume":
		consume(words[0], words[1], words[2])
	case "group":
		group(words[0], words[1], words[2], words[3], words[4])
	case "transact":
		transact(words[0], words[1], words[2])
	case "admin":
		administer(words[0])
	}
}

func client(bootstrap string, options ...kgo.Opt) *kgo.Client {
	logger := kgo.BasicLogger(os.Stderr, kgo.LogLevelInfo, nil)
	options = append(options, kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.WithLogger(logger))
	made, err := kgo.NewClient(options...)
	lines.Must(err)
	return made
}

func send(producer *kgo.Client, topic, line string) {
	partition, value := lines.Record(line)
	record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
	producer.Produce(background, record, func(record *kgo.Record, err error) {
		if err != nil {
			lines.Say("fail %d %s", partition, err)
		} else {
			lines.Say("ack %d %d %s", record.Partition, record.Offset, record.Value)
		}
	})
}

func produce(bootstrap, topic, codec string) {
	producer := client(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[codec]))
	lines.Each(func(line string) { send(producer, topic, line) })
	lines.Must(producer.Flush(background))
	producer.Close()
}

func consume(bootstrap, topic, isolation string) {
	level := kgo.ReadUncommitted()
	if isolation == "read_committed" {
		level = kgo.ReadCommitted()
	}
	consumer := client(bootstrap, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	poll, stop := context.WithCancel(background)
	go func() {
		lines.Each(func(string) {})
		stop()
	}()
	for poll.Err() == nil {
		say(consumer.PollFetches(poll))
	}
	consumer.Close()
}

func say(fetches kgo.Fetches) {
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			fmt.Fprintln(os.Stderr, topic, partition, err)
		}
	})
	fetches.EachRecord(func(record *kgo.Record) {
		lines.Say("read %d %d %s", record.Partition, record.Offset, record.Value)
	})
}

func group(bootstrap, topic, name, protocol, session string) {
	var mutex sync.Mutex
	has := map[int32]bool{}
	change := func(now bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			mutex.Lock()
			defer mutex.Unlock()
			for _, partition := range changed[topic] {
				if now {
					has[partition] = true
				} else {
					delete(has, partition)
				}
			}
			lines.Assigned(has)
		}
	}
	patience := time.Duration(lines.Number(session)) * time.Millisecond
	options := []kgo.Opt{kgo.ConsumerGroup(name), kgo.SessionTimeout(patience), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false))}
	if protocol == "consumer" {
		options = append(options, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	}
	member := client(bootstrap, options...)
	poll, stop := context.WithCancel(background)
	held := false
	asked := make(chan bool, 1)
	go func() {
		lines.Each(func(string) { asked <- true })
		stop()
	}()
	for poll.Err() == nil {
		moment, over := context.WithTimeout(poll, 100*time.Millisecond)
		fetches := member.PollRecords(moment, 100)
		over()
		say(fetches)
		select {
		case <-asked:
			held = true
			lines.Say("held")
		default:
		}
		if !held && fetches.NumRecords() > 0 {
			commit(member, fetches)
		}
		member.AllowRebalance()
	}
	member.CloseAllowingRebalance()
}

func commit(member *kgo.Client, fetches kgo.Fetches) {
	if err := member.CommitRecords(background, fetches.Records()...); err != nil {
		fmt.Fprintln(os.Stderr, "commit:", err)
		return
	}
	fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
		if count := len(partition.Records); count > 0 {
			lines.Say("committed %d %d", partition.Partition, partition.Records[count-1].Offset+1)
		}
	})
}

func transact(bootstrap, topic, id string) {
	producer := client(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(id))
	_, _, err := producer.ProducerID(background)
	lines.Must(err)
	lines.Each(func(line string) {
		switch line {
		case "begin":
			lines.Answer("begun", producer.BeginTransaction())
		case "commit":
			lines.Answer("committed", end(producer, kgo.TryCommit))
		case "abort":
			lines.Answer("aborted", end(producer, kgo.TryAbort))
		default:
			send(producer, topic, line)
		}
	})
	producer.Close()
}

func end(producer *kgo.Client, how kgo.TransactionEndTry) error {
	if err := producer.Flush(background); err != nil {
		return err
	}
	return producer.EndTransaction(background, how)
}

func administer(bootstrap string) {
	cluster := client(bootstrap)
	admin := kadm.NewClient(cluster)
	lines.Each(func(line string) {
		words := strings.Split(line, " ")
		if err := obey(admin, words[0], words[1:]); err != nil {
			lines.Refused(err)
		}
	})
	cluster.Close()
}

// obey does what a line asks for, and answers; or returns why not.
func obey(admin *kadm.Client, command string, words []string) error {
	switch command {
	case "create":
		partitions, replicas := int32(lines.Number(words[1])), int16(lines.Number(words[2]))
		_, err := admin.CreateTopic(background, partitions, replicas, nil, words[0])
		return done(err)
	case "describe":
		topics, err := admin.ListTopics(background, words[0])
		if err = errors.Join(err, topics[words[0]].Err); err != nil {
			return err
		}
		partitions := topics[words[0]].Partitions
		lines.Say("partitions %d replicas %d", len(partitions), partitions.NumReplicas())
	case "topics":
		topics, err := admin.ListTopics(background)
		if err != nil {
			return err
		}
		lines.Names("topics", topics.Names())
	case "grow":
		answer, err := admin.UpdatePartitions(background, int(lines.Number(words[1])), words[0])
		return done(errors.Join(err, answer.Error()))
	case "config":
		return config(admin, words[0], words[1])
	case "set":
		changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: words[1], Value: &words[2]}}
		answers, err := admin.AlterTopicConfigs(background, changes, words[0])
		for _, answer := range answers {
			err = errors.Join(err, answer.Err)
		}
		return done(err)
	case "truncate":
		offsets := kadm.Offsets{}
		offsets.AddOffset(words[0], int32(lines.Number(words[1])), lines.Number(words[2]), -1)
		answer, err := admin.DeleteRecords(background, offsets)
		return done(errors.Join(err, answer.Error()))
	case "groups":
		groups, err := admin.ListGroups(background)
		if err != nil {
			return err
		}
		lines.Names("groups", groups.Groups())
	case "group":
		groups, err := admin.DescribeGroups(background, words[0])
		group := groups[words[0]]
		if err = errors.Join(err, group.Err); err != nil {
			return err
		}
		lines.Say("state %s members %d", group.State, len(group.Members))
	case "offsets":
		return offsets(admin, words[0])
	case "forget":
		_, err := admin.DeleteGroup(background, words[0])
		return done(err)
	case "delete":
		_, err := admin.DeleteTopic(background, words[0])
		return done(err)
	default:
		return kerr.InvalidRequest
	}
	return nil
}

func done(err error) error {
	if err == nil {
		lines.Say("done")
	}
	return err
}

func config(admin *kadm.Client, topic, name string) error {
	resources, err := admin.DescribeTopicConfigs(background, topic)
	if err != nil {
		return err
	}
	resource, err := resources.On(topic, nil)
	if err != nil {
		return err
	}
	for _, config := range resource.Configs {
		if config.Key == name {
			lines.Say("value %s", config.MaybeValue())
			return nil
		}
	}
	return kerr.InvalidConfig
}

func offsets(admin *kadm.Client, group string) error {
	committed, err := admin.FetchOffsets(background, group)
	if err != nil {
		return err
	}
	words := []string{}
	committed.Each(func(offset kadm.OffsetResponse) {
		words = append(words, fmt.Sprintf("%d:%d", offset.Partition, offset.At))
	})
	sort.Strings(words)
	lines.Say("offsets %s", strings.Join(words, ","))
	return nil
}
