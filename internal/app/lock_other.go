//go:build !unix

package app

import (
	"errors"
	"os"
)

func lockFolder(string) (*os.File, error) {
	return nil, errors.ErrUnsupported
}
