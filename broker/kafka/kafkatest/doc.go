// Package kafkatest runs a real Apache Kafka for tests, without containers: one node, or a cluster
// whose nodes can be killed and whose clients can be cut off. Maven fetches it once per user; each
// server is a process of its own, in KRaft mode, on ports of 127.0.0.1, and ends with the process that
// started it.
//
//	func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }
//
//	func TestIt(t *testing.T) {
//		k := kafkatest.Shared(t)       // or Start, StartCluster
//		topic := k.Topic(t, 4, nil)    // random name
//		client := k.Client(t, kgo.ConsumeTopics(topic))
//		…
//	}
//
// Where Java 17, Maven or the way to its repository is missing, tests skip, and with
// FRESHET_TEST_REQUIRE=1 they fail.
//
// Nothing here is for production: nodes keep no security between each other, and sync nothing, as
// Kafka does by default. A kill -9 of a node loses nothing that the operating system has.
package kafkatest
