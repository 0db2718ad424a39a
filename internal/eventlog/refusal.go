package eventlog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Refusal is an error that waiting does not correct: the settings and the server do not fit.
type Refusal struct {
	Err error
	Fix string // the next step
}

func (r *Refusal) Error() string { return r.Err.Error() + "; " + r.Fix }

func (r *Refusal) Unwrap() error { return r.Err }

func isRefusal(err error) bool {
	_, ok := errors.AsType[*Refusal](err)
	return ok
}

// Error codes of JetStream that jetstream does not name, each with the server's
// identifier.
const (
	codeAccountResourcesExceeded jetstream.ErrorCode = 10002 // JSAccountResourcesExceededErr
	codeClusterNoPeers           jetstream.ErrorCode = 10005 // JSClusterNoPeersErrF
	codeInsufficientResources    jetstream.ErrorCode = 10023 // JSInsufficientResourcesErr
	codeMaximumConsumers         jetstream.ErrorCode = 10026 // JSMaximumConsumersLimitErr
	codeMaximumStreams           jetstream.ErrorCode = 10027 // JSMaximumStreamsLimitErr
	codeStorageExceeded          jetstream.ErrorCode = 10047 // JSStorageResourcesExceededErr
	codeInvalidConfig            jetstream.ErrorCode = 10052 // JSStreamInvalidConfigF
	codeSubjectOverlap           jetstream.ErrorCode = 10065 // JSStreamSubjectOverlapErr
	codeReplicasNotSupported     jetstream.ErrorCode = 10074 // JSStreamReplicasNotSupportedErr
	codeMaxBytesRequired         jetstream.ErrorCode = 10113 // JSStreamMaxBytesRequired
	codeMaxStreamBytesExceeded   jetstream.ErrorCode = 10122 // JSStreamMaxStreamBytesExceeded
)

// refused returns the error of a request to create or change something: a [*Refusal] when
// it is known what to do about it, nil without an error.
func refused(request string, err error) error {
	if err == nil {
		return nil
	}
	fix := remedy(err)
	err = fmt.Errorf("%s: %w", request, err)
	if fix == "" {
		return err
	}
	return &Refusal{err, fix}
}

// remedy says what to do when JetStream refuses a configuration, "" when that is not known.
func remedy(err error) string {
	var refusal *jetstream.APIError
	if !errors.As(err, &refusal) {
		return ""
	}
	switch refusal.ErrorCode {
	case codeSubjectOverlap:
		return "another stream takes " + Subject + ".> or " + DeadSubject + ".>: delete it, or use another NATS account"
	case codeReplicasNotSupported, codeClusterNoPeers:
		return "CLERKSYNC_LOG_REPLICAS asks for more copies than there are servers with JetStream, or than CLERKSYNC_LOG_CLUSTER and CLERKSYNC_LOG_TAGS leave"
	case codeStorageExceeded, codeInsufficientResources, codeAccountResourcesExceeded, codeMaxStreamBytesExceeded:
		return "CLERKSYNC_LOG_MAX_BYTES or CLERKSYNC_DEAD_MAX_BYTES asks for more than the server or the account has"
	case codeMaxBytesRequired:
		return "set CLERKSYNC_LOG_MAX_BYTES and CLERKSYNC_DEAD_MAX_BYTES: the account takes no stream without a limit"
	case codeMaximumConsumers:
		return "the worker needs one consumer, and every command that reads events some more: let the account have more, or delete some"
	case codeMaximumStreams:
		return "the log needs two streams, " + Stream + " and " + DeadStream + ": let the account have more, or delete some"
	case codeInvalidConfig:
		if strings.Contains(refusal.Description, "update can not") {
			return "JetStream cannot change this in place: export the events (clerksync events export), delete the stream, start, and import them"
		}
	}
	return ""
}
