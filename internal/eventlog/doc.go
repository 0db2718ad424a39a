// Package eventlog is the JetStream side: the stream of events, the stream of dead
// letters, and the projector's consumer.
//
// It stores, delivers, reads and parks events, and knows nothing of what they mean.
package eventlog
