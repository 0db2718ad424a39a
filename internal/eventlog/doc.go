// Package eventlog is the JetStream side: the stream of every stored event, the
// stream of dead letters, and the consumer that the projector reads.
//
// It stores, delivers and parks events, and knows nothing of what they mean.
package eventlog
