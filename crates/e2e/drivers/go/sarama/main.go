// Command sarama drives Sarama; ../../README.md says how it is called.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"ottla/drivers/lines"
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func main() {
	sarama.Logger = log.New(os.Stderr, "", log.LstdFlags|log.Lmicroseconds)
	command, words := os.Args[1], os.Args[2:]
	addresses := strings.Split(words[0], ",")
	switch command {
	case "produce":
		produce(addresses, words[1], words[2])
	case "consume":
		consume(addresses, words[1], words[2])
	case "group":
		group(addresses, words[1], words[2], words[4])
	case "transact":
		transact(addresses, words[1], words[2])
	case "admin":
		administer(addresses)
	}
}

// sender is a producer whose acknowledgements are told as they come.
type sender struct {
	sarama.AsyncProducer
	topic string
	told  sync.WaitGroup
	// What was sent and not yet told of.
	underWay sync.WaitGroup
}

func newSender(addresses []string, topic string, config *sarama.Config) *sender {
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1 // Sarama's idempotence asks for it.
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	producer, err := sarama.NewAsyncProducer(addresses, config)
	lines.Must(err)
	made := &sender{AsyncProducer: producer, topic: topic}
	made.told.Go(func() {
		for record := range producer.Successes() {
			lines.Say("ack %d %d %s", record.Partition, record.Offset, record.Value)
			made.underWay.Done()
		}
	})
	made.told.Go(func() {
		for failed := range producer.Errors() {
			lines.Say("fail %d %s", failed.Msg.Partition, failed.Err)
			made.underWay.Done()
		}
	})
	return made
}

func (s *sender) send(line string) {
	partition, value := lines.Record(line)
	s.underWay.Add(1)
	s.Input() <- &sarama.ProducerMessage{Topic: s.topic, Partition: partition, Value: sarama.StringEncoder(value)}
}

func (s *sender) close() {
	// A batch that is being sent again is given up by AsyncClose.
	s.underWay.Wait()
	s.AsyncClose()
	s.told.Wait()
}

func produce(addresses []string, topic, codec string) {
	config := sarama.NewConfig()
	config.Producer.Compression = codecs[codec]
	sender := newSender(addresses, topic, config)
	lines.Each(sender.send)
	sender.close()
}

func consume(addresses []string, topic, isolation string) {
	config := sarama.NewConfig()
	if isolation == "read_committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer(addresses, config)
	lines.Must(err)
	partitions, err := consumer.Partitions(topic)
	lines.Must(err)
	var readers sync.WaitGroup
	claims := []sarama.PartitionConsumer{}
	for _, partition := range partitions {
		claim, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		lines.Must(err)
		claims = append(claims, claim)
		readers.Go(func() {
			for record := range claim.Messages() {
				say(record)
			}
		})
	}
	lines.Each(func(string) {})
	for _, claim := range claims {
		claim.AsyncClose()
	}
	readers.Wait()
	lines.Must(consumer.Close())
}

func say(record *sarama.ConsumerMessage) {
	lines.Say("read %d %d %s", record.Partition, record.Offset, record.Value)
}

// member is what Sarama calls when partitions come and go.
type member struct {
	topic string
	held  atomic.Bool
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	has := map[int32]bool{}
	for _, partition := range session.Claims()[m.topic] {
		has[partition] = true
	}
	lines.Assigned(has)
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	lines.Assigned(nil)
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for record := range claim.Messages() {
		say(record)
		// Those that are there already go into the same commit.
		for range len(claim.Messages()) {
			record = <-claim.Messages()
			say(record)
		}
		if m.held.Load() {
			continue
		}
		session.MarkMessage(record, "")
		session.Commit()
		if session.Context().Err() == nil {
			lines.Say("committed %d %d", record.Partition, record.Offset+1)
		}
	}
	return nil
}

func group(addresses []string, topic, name, session string) {
	config := sarama.NewConfig()
	config.Consumer.Group.Session.Timeout = time.Duration(lines.Number(session)) * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	joined, err := sarama.NewConsumerGroup(addresses, name, config)
	lines.Must(err)
	handler := &member{topic: topic}
	running, stop := context.WithCancel(context.Background())
	go func() {
		lines.Each(func(string) {
			handler.held.Store(true)
			lines.Say("held")
		})
		stop()
	}()
	for running.Err() == nil {
		if err := joined.Consume(running, []string{topic}, handler); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	lines.Must(joined.Close())
}

func transact(addresses []string, topic, id string) {
	config := sarama.NewConfig()
	config.Producer.Transaction.ID = id
	sender := newSender(addresses, topic, config)
	lines.Each(func(line string) {
		words := strings.Split(line, " ")
		switch words[0] {
		case "begin":
			lines.Answer("begun", sender.BeginTxn())
		case "commit":
			lines.Answer("committed", sender.CommitTxn())
		case "abort":
			lines.Answer("aborted", sender.AbortTxn())
		case "offset":
			offset := &sarama.PartitionOffsetMetadata{
				Partition: int32(lines.Number(words[2])), Offset: lines.Number(words[3]),
			}
			offsets := map[string][]*sarama.PartitionOffsetMetadata{topic: {offset}}
			lines.Answer("written", sender.AddOffsetsToTxn(offsets, words[1]))
		default:
			sender.send(line)
		}
	})
	sender.close()
}

func administer(addresses []string) {
	admin, err := sarama.NewClusterAdmin(addresses, sarama.NewConfig())
	lines.Must(err)
	lines.Each(func(line string) {
		words := strings.Split(line, " ")
		answer, err := obey(admin, words[0], words[1:])
		lines.Answer(answer, err)
	})
	lines.Must(admin.Close())
}

// obey does what a line asks for, and returns what to answer.
func obey(admin sarama.ClusterAdmin, command string, words []string) (string, error) {
	const done = "done"
	switch command {
	case "create":
		partitions, replicas := int32(lines.Number(words[1])), int16(lines.Number(words[2]))
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replicas}
		return done, admin.CreateTopic(words[0], detail, false)
	case "describe":
		topics, err := admin.DescribeTopics(words)
		if err != nil {
			return "", err
		}
		topic := topics[0]
		if topic.Err != sarama.ErrNoError {
			return "", topic.Err
		}
		return fmt.Sprintf("partitions %d replicas %d", len(topic.Partitions), len(topic.Partitions[0].Replicas)), nil
	case "topics":
		topics, err := admin.ListTopics()
		return listed("topics", topics), err
	case "grow":
		return done, admin.CreatePartitions(words[0], int32(lines.Number(words[1])), nil, false)
	case "config":
		resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: words[0], ConfigNames: words[1:]}
		entries, err := admin.DescribeConfig(resource)
		if err != nil {
			return "", err
		}
		return "value " + entries[0].Value, nil
	case "set":
		change := sarama.IncrementalAlterConfigsEntry{
			Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &words[2],
		}
		changes := map[string]sarama.IncrementalAlterConfigsEntry{words[1]: change}
		return done, admin.IncrementalAlterConfig(sarama.TopicResource, words[0], changes, false)
	case "truncate":
		offsets := map[int32]int64{int32(lines.Number(words[1])): lines.Number(words[2])}
		return done, admin.DeleteRecords(words[0], offsets)
	case "groups":
		groups, err := admin.ListConsumerGroups()
		return listed("groups", groups), err
	case "group":
		groups, err := admin.DescribeConsumerGroups(words)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("state %s members %d", groups[0].State, len(groups[0].Members)), nil
	case "offsets":
		return offsets(admin, words[0])
	case "forget":
		return done, admin.DeleteConsumerGroup(words[0])
	case "delete":
		return done, admin.DeleteTopic(words[0])
	default:
		return "", sarama.ErrInvalidRequest
	}
}

func listed[T any](what string, named map[string]T) string {
	names := []string{}
	for name := range named {
		names = append(names, name)
	}
	sort.Strings(names)
	return what + " " + strings.Join(names, ",")
}

func offsets(admin sarama.ClusterAdmin, group string) (string, error) {
	committed, err := admin.ListConsumerGroupOffsets(group, nil)
	if err != nil {
		return "", err
	}
	words := []string{}
	for _, partitions := range committed.Blocks {
		for partition, block := range partitions {
			words = append(words, fmt.Sprintf("%d:%d", partition, block.Offset))
		}
	}
	sort.Strings(words)
	return "offsets " + strings.Join(words, ","), nil
}
