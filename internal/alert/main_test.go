package alert

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// discard is for servers whose errors are intended.
var discard = log.New(io.Discard, "", 0)
